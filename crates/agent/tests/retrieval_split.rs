//! The splitter against LangChain's, chunk for chunk. `data/make_splitter_golden.py` makes the data.

use frontdesk_agent::retrieval::split::Splitter;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    chunk_size: usize,
    chunk_overlap: usize,
    text: String,
    chunks: Vec<String>,
}

#[test]
fn chunks_equal_langchains() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("data/splitter.json")).unwrap();
    assert!(cases.len() > 100, "the golden file is complete");
    for case in cases {
        let chunks = Splitter::new(case.chunk_size, case.chunk_overlap).split(&case.text);
        assert_eq!(chunks, case.chunks, "{}, {} characters, overlap {}", case.name, case.chunk_size, case.chunk_overlap);
    }
}
