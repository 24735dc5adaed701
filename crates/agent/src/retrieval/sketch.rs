//! A sketch of each vector, one bit a dimension: on which side of the corpus's mean it lies. Two sketches differ in more bits the wider
//! the angle between their vectors (Charikar, "Similarity Estimation Techniques from Rounding Algorithms", 2002, with the axes as the
//! hyperplanes), and comparing them takes six words where the vectors take 384 numbers.

use rayon::prelude::*;

use super::encoder::{DIMENSIONS, Vector};

const WORDS: usize = DIMENSIONS / 64;
/// Vectors that one core adds up at a time.
const PART: usize = 4096;

type Sketch = [u64; WORDS];

/// The sketches of a corpus.
pub(super) struct Sketches {
    mean: Vector,
    sketches: Vec<Sketch>,
}

impl Sketches {
    pub(super) fn new(vectors: &[Vector]) -> Sketches {
        let mut sum = [0.0_f64; DIMENSIONS];
        // The parts are fixed and added in their order, so that the same vectors give the same mean on any number of cores.
        let parts: Vec<[f64; DIMENSIONS]> = vectors.par_chunks(PART).map(sum_of).collect();
        parts.iter().for_each(|part| sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part));
        let mean = sum.map(|sum| (sum / vectors.len().max(1) as f64) as f32);
        Sketches { sketches: vectors.par_iter().map(|vector| sketch(vector, &mean)).collect(), mean }
    }

    /// The places of the `count` vectors whose sketches differ least from that of `query`, in their own order.
    pub(super) fn nearest(&self, query: &Vector, count: usize) -> Vec<usize> {
        let distances = distances(&self.sketches, &sketch(query, &self.mean));
        let mut at_distance = [0_usize; DIMENSIONS + 1];
        distances.iter().for_each(|distance| at_distance[usize::from(*distance)] += 1);
        let mut within = 0;
        let last = at_distance.iter().position(|at| {
            within += at;
            within >= count
        });
        let last = last.unwrap_or(DIMENSIONS);
        // Of those at the last distance as many as there is room for.
        let mut room = at_distance[last].saturating_sub(within.saturating_sub(count));
        let mut nearest = Vec::with_capacity(count.min(distances.len()));
        for (place, distance) in distances.iter().enumerate() {
            let distance = usize::from(*distance);
            if distance < last || (distance == last && room > 0) {
                room -= usize::from(distance == last);
                nearest.push(place);
            }
        }
        nearest
    }
}

fn sum_of(vectors: &[Vector]) -> [f64; DIMENSIONS] {
    let mut sum = [0.0; DIMENSIONS];
    for vector in vectors {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    sum
}

fn sketch(vector: &Vector, mean: &Vector) -> Sketch {
    let mut sketch = [0; WORDS];
    for (word, (values, means)) in sketch.iter_mut().zip(vector.chunks_exact(64).zip(mean.chunks_exact(64))) {
        *word = values.iter().zip(means).rev().fold(0, |word, (value, mean)| word << 1 | u64::from(value > mean));
    }
    sketch
}

/// The number of bits in which each of `sketches` differs from `query`.
fn distances(sketches: &[Sketch], query: &Sketch) -> Vec<u16> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("popcnt") && is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "the processor has just said that it has the instructions")]
        return unsafe { distances_with_popcnt(sketches, query) };
    }
    count_bits(sketches, query)
}

/// The same code, compiled for processors of the last ten years.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt,avx2")]
fn distances_with_popcnt(sketches: &[Sketch], query: &Sketch) -> Vec<u16> {
    count_bits(sketches, query)
}

#[inline(always)]
fn count_bits(sketches: &[Sketch], query: &Sketch) -> Vec<u16> {
    let distance = |sketch: &Sketch| sketch.iter().zip(query).map(|(a, b)| (a ^ b).count_ones() as u16).sum();
    sketches.iter().map(distance).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector whose first `ones` numbers are 1 and whose others are -1.
    fn vector(ones: usize) -> Vector {
        std::array::from_fn(|at| if at < ones { 1.0 } else { -1.0 })
    }

    #[test]
    fn those_with_most_signs_in_common_are_nearest() {
        let mut corpus: Vec<Vector> = [0, 10, 20, 30, 40, 200, 300, 384].map(vector).to_vec();
        corpus.push(vector(30));
        let sketches =
            Sketches { mean: [0.0; DIMENSIONS], sketches: corpus.iter().map(|vector| sketch(vector, &[0.0; DIMENSIONS])).collect() };
        assert_eq!(sketches.nearest(&vector(21), 2), [2, 3], "one of the two at the last distance");
        assert_eq!(sketches.nearest(&vector(21), 4), [1, 2, 3, 8]);
        assert_eq!(sketches.nearest(&vector(21), 100).len(), 9);
        assert_eq!(Sketches::new(&[]).nearest(&vector(0), 3), [0_usize; 0]);
    }

    #[test]
    fn both_ways_of_counting_agree() {
        let corpus: Vec<Vector> = (0..DIMENSIONS).map(vector).collect();
        let sketches = Sketches::new(&corpus);
        let query = sketch(&vector(100), &sketches.mean);
        assert_eq!(distances(&sketches.sketches, &query), count_bits(&sketches.sketches, &query));
    }
}
