//! Nearest neighbours by scalar product. Up to `EXACT_MAX` vectors every one is compared with the query; beyond, their sketches are, and only
//! the `CANDIDATES` with the nearest ones are looked at exactly. There is nothing to train and nothing to store: a million sketches
//! are made in seconds.

use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::NdTensorView;

use super::encoder::{DIMENSIONS, Vector};
use super::sketch::Sketches;

/// Up to here the exact search takes two or three milliseconds (`docs/benchmark.md`).
const EXACT_MAX: usize = 20_000;
/// Chosen for a recall@10 of 0.98 and more at a million vectors; see `docs/benchmark.md`.
const CANDIDATES: usize = 2_000;

/// The vectors of a corpus, numbered in the order in which they were given.
pub struct VectorIndex {
    vectors: Vec<Vector>,
    sketches: Option<Sketches>,
}

impl VectorIndex {
    /// Indexes `vectors`. Blocks for about a microsecond each where sketches are needed.
    pub fn new(vectors: Vec<Vector>) -> VectorIndex {
        let sketches = (vectors.len() > EXACT_MAX).then(|| Sketches::new(&vectors));
        VectorIndex { vectors, sketches }
    }

    /// The `k` vectors with the largest product with `query`, and that product, largest first; equals in their own order.
    pub fn nearest(&self, query: &Vector, k: usize) -> Vec<(usize, f32)> {
        match &self.sketches {
            None => self.nearest_of_all(query, k),
            Some(sketches) => {
                let candidates = sketches.nearest(query, CANDIDATES);
                let scores: Vec<f32> = candidates.iter().map(|place| self.score(*place, query)).collect();
                best(&scores, k).into_iter().map(|(at, score)| (candidates[at], score)).collect()
            }
        }
    }

    /// The product of one vector with `query`, summed up in eight parts, which the compiler adds side by side.
    pub fn score(&self, place: usize, query: &Vector) -> f32 {
        let mut sums = [0.0; 8];
        for (a, b) in self.vectors[place].chunks_exact(8).zip(query.chunks_exact(8)) {
            sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
        }
        sums.iter().sum()
    }

    /// [`VectorIndex::nearest`] with every vector looked at.
    pub fn nearest_of_all(&self, query: &Vector, k: usize) -> Vec<(usize, f32)> {
        let mut scores = vec![0.0; self.vectors.len()];
        let rows = NdTensorView::from_data([self.vectors.len(), DIMENSIONS], self.vectors.as_flattened());
        let query = NdTensorView::from_data([1, DIMENSIONS], query.as_slice());
        GemmExecutor::default()
            .gemm(&mut scores, GemmInputA::Unpacked(query), GemmInputB::Unpacked(rows.transposed()), GemmOptions::default())
            .expect("both sides have DIMENSIONS in common");
        best(&scores, k)
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
        let found = VectorIndex::new(corpus.to_vec()).nearest(query, 10);
        assert_eq!(found.len(), 10);
        for ((at, cosine), (expected_at, expected_cosine)) in found.iter().zip(&expected) {
            assert_eq!(at, expected_at);
            assert!((f64::from(*cosine) - expected_cosine).abs() < 1e-6);
        }
    }

    #[test]
    fn a_large_corpus_is_searched_by_sketches_and_nearly_as_well() {
        // Beside every vector a near copy: the nearest of a vector is itself, then its copy.
        let mut corpus = vectors(EXACT_MAX / 2 + 1);
        let turned = |vector: &Vector| {
            let mut turned = *vector;
            turned[..16].iter_mut().for_each(|value| *value = -*value);
            turned
        };
        corpus.extend(corpus.clone().iter().map(turned));
        let half = corpus.len() / 2;
        let index = VectorIndex::new(corpus);
        assert!(index.sketches.is_some());
        for place in (0..half).step_by(997) {
            let query = index.vectors[place];
            let (found, all) = (index.nearest(&query, 2), index.nearest_of_all(&query, 2));
            let places = |found: &[(usize, f32)]| found.iter().map(|(place, _)| *place).collect::<Vec<_>>();
            assert_eq!((places(&found), places(&all)), (vec![place, half + place], vec![place, half + place]));
            assert!((found[1].1 - all[1].1).abs() < 1e-5);
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
        assert!(VectorIndex::new(Vec::new()).nearest(&[0.0; DIMENSIONS], 3).is_empty());
    }
}
