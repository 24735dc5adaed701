//! Exact nearest neighbours by cosine: every vector is compared with the query, none is skipped. Ten thousand vectors take
//! a quarter of a millisecond, which no FAQ exceeds by much; an approximate index would trade exactness for nothing.

use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::NdTensorView;

use super::encoder::{DIMENSIONS, Vector};

/// The vectors of a corpus as one matrix, numbered in the order in which they were given.
pub(crate) struct VectorIndex {
    /// vectors × [`DIMENSIONS`], each row of length 1.
    rows: Vec<f32>,
}

impl VectorIndex {
    pub(crate) fn new(vectors: &[Vector]) -> VectorIndex {
        VectorIndex { rows: vectors.as_flattened().to_vec() }
    }

    /// The `k` vectors nearest to `query` with their cosine, nearest first; equals in their own order.
    pub(crate) fn nearest(&self, query: &Vector, k: usize) -> Vec<(usize, f32)> {
        let count = self.rows.len() / DIMENSIONS;
        let mut cosines = vec![0.0; count];
        let rows = NdTensorView::from_data([count, DIMENSIONS], self.rows.as_slice());
        let query = NdTensorView::from_data([1, DIMENSIONS], query.as_slice());
        GemmExecutor::default()
            .gemm(&mut cosines, GemmInputA::Unpacked(query), GemmInputB::Unpacked(rows.transposed()), GemmOptions::default())
            .expect("both sides have DIMENSIONS in common");
        best(&cosines, k)
    }
}

/// The places of the `k` highest scores with the scores, highest first; equals in their own order.
pub(crate) fn best(scores: &[f32], k: usize) -> Vec<(usize, f32)> {
    let mut best: Vec<(usize, f32)> = Vec::with_capacity(k + 1);
    for (at, score) in scores.iter().copied().enumerate() {
        if best.len() == k && best.last().is_none_or(|(_, worst)| score <= *worst) {
            continue;
        }
        let rank = best.partition_point(|(_, better)| *better >= score);
        best.insert(rank, (at, score));
        best.truncate(k);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors spread by a linear congruence: no two alike, none random.
    fn vectors(count: usize) -> Vec<Vector> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count)
            .map(|_| {
                let vector: Vector = std::array::from_fn(|_| next());
                let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
                vector.map(|value| value / length)
            })
            .collect()
    }

    #[test]
    fn the_nearest_are_those_that_a_plain_sort_finds() {
        let vectors = vectors(1003);
        let (query, corpus) = vectors.split_first().unwrap();
        let mut expected: Vec<(usize, f64)> =
            corpus.iter().map(|vector| vector.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()).enumerate().collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1));
        let found = VectorIndex::new(corpus).nearest(query, 10);
        assert_eq!(found.len(), 10);
        for ((at, cosine), (expected_at, expected_cosine)) in found.iter().zip(&expected) {
            assert_eq!(at, expected_at);
            assert!((f64::from(*cosine) - expected_cosine).abs() < 1e-6);
        }
    }

    #[track_caller]
    fn check(scores: &[f32], k: usize, expected: &[usize]) {
        assert_eq!(best(scores, k).iter().map(|(at, _)| *at).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn equal_scores_keep_their_order_and_k_may_exceed_the_corpus() {
        check(&[0.5, 0.9, 0.5, 0.9, 0.1], 3, &[1, 3, 0]);
        check(&[0.5, 0.9], 50, &[1, 0]);
        check(&[], 3, &[]);
        assert!(VectorIndex::new(&[]).nearest(&[0.0; DIMENSIONS], 3).is_empty());
    }
}
