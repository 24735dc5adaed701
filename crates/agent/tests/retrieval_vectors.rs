//! The encoder against sentence-transformers on the same weights. `data/make_vectors_golden.py` makes the data.

use frontdesk_agent::retrieval::embed::TextEncoder;
use frontdesk_agent::retrieval::model::{self, ModelFiles};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    text: String,
    vector: Vec<f64>,
}

#[test]
fn vectors_equal_those_of_sentence_transformers() {
    let files = ModelFiles::locate(&model::default_dir()).unwrap();
    let encoder = TextEncoder::load(&files.expect("this test needs the model: run `frontdesk model pull`")).unwrap();
    // `make acceptance` names a file made just now by sentence-transformers itself.
    let golden = std::env::var("FRONTDESK_VECTORS").map(|path| std::fs::read_to_string(path).unwrap());
    let golden = golden.unwrap_or_else(|_| include_str!("data/vectors.json").to_owned());
    let cases: Vec<Case> = serde_json::from_str(&golden).unwrap();
    assert!(cases.len() >= 12, "the golden file is complete");
    let texts: Vec<&str> = cases.iter().map(|case| case.text.as_str()).collect();
    let mut lowest = 1.0_f64;
    for (case, vector) in cases.iter().zip(encoder.embed(&texts).unwrap()) {
        assert_eq!(case.vector.len(), vector.len());
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let vector = vector.map(f64::from);
        assert!((dot(&vector, &vector) - 1.0).abs() < 1e-5, "the vector of {:?} has length 1", case.text);
        let cosine = dot(&vector, &case.vector) / dot(&case.vector, &case.vector).sqrt();
        assert!(cosine >= 0.9999, "{:?}: cosine {cosine}", case.text);
        lowest = lowest.min(cosine);
    }
    println!("lowest cosine {lowest:.9}");
}
