//! Reads tensors out of a `model.safetensors` file, one at a time and by position, so that no more of the file is ever
//! in memory than what is asked for. The format: eight bytes with the header's length (little-endian), a JSON header
//! with each tensor's name, type, shape and place, then the tensors
//! (<https://huggingface.co/docs/safetensors/index#format>).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A header this long describes tens of thousands of tensors; the encoder has about a hundred.
const HEADER_BYTES_MAX: u64 = 4 * 1024 * 1024;
const F32_BYTES: usize = 4;

/// An open weights file.
#[derive(Debug)]
pub(crate) struct Weights {
    path: PathBuf,
    file: File,
    data_start: u64,
    tensors: HashMap<String, TensorInfo>,
}

#[derive(Debug, Deserialize)]
struct TensorInfo {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// Why a weights file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be opened or read.
    #[error("failed to read {path}: {source}")]
    Io {
        /// The weights file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The header is not one of the safetensors format.
    #[error("{path} is not a safetensors file: {reason}")]
    Header {
        /// The weights file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor is missing, or of another type, shape or size than the encoder's.
    #[error("{path}: the tensor {name} is not {expected}")]
    Tensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// What it should be.
        expected: String,
    },
}

impl Weights {
    pub(crate) fn open(path: &Path) -> Result<Weights, WeightsError> {
        let io_failed = |source| WeightsError::Io { path: path.to_owned(), source };
        let malformed = |reason: String| WeightsError::Header { path: path.to_owned(), reason };

        let file = File::open(path).map_err(io_failed)?;
        let mut length = [0; 8];
        file.read_exact_at(&mut length, 0).map_err(io_failed)?;
        let header_bytes = u64::from_le_bytes(length);
        if header_bytes > HEADER_BYTES_MAX {
            return Err(malformed(format!("its header claims {header_bytes} bytes")));
        }
        let mut header = vec![0; header_bytes as usize];
        file.read_exact_at(&mut header, 8).map_err(io_failed)?;

        // `__metadata__` is free text; every other key is a tensor.
        let mut entries: HashMap<String, serde_json::Value> =
            serde_json::from_slice(&header).map_err(|error| malformed(error.to_string()))?;
        entries.remove("__metadata__");
        let tensors = entries
            .into_iter()
            .map(|(name, info)| Ok((name, serde_json::from_value(info)?)))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| malformed(error.to_string()))?;
        Ok(Weights { path: path.to_owned(), file, data_start: 8 + header_bytes, tensors })
    }

    /// The values of the f32 tensor `name` in row-major order, if it has this `shape`.
    pub(crate) fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let start = self.find(name, shape)?;
        let mut bytes = vec![0; shape.iter().product::<usize>() * F32_BYTES];
        self.read_at(&mut bytes, start)?;
        Ok(floats(&bytes).collect())
    }

    /// Where the two-dimensional f32 tensor `name` of this `shape` lies, for reading single rows later.
    pub(crate) fn rows(&self, name: &str, shape: [usize; 2]) -> Result<RowTable, WeightsError> {
        let start = self.find(name, &shape)?;
        let file = self.file.try_clone().map_err(|source| WeightsError::Io { path: self.path.clone(), source })?;
        Ok(RowTable { file, start, shape })
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<u64, WeightsError> {
        let bytes = (shape.iter().product::<usize>() * F32_BYTES) as u64;
        match self.tensors.get(name) {
            Some(TensorInfo { dtype, shape: found, data_offsets: [start, end] })
                if dtype == "F32" && found == shape && end.checked_sub(*start) == Some(bytes) =>
            {
                Ok(self.data_start + start)
            }
            _ => Err(WeightsError::Tensor {
                path: self.path.clone(),
                name: name.to_owned(),
                expected: format!("a tensor of f32 with the shape {shape:?}"),
            }),
        }
    }

    fn read_at(&self, bytes: &mut [u8], start: u64) -> Result<(), WeightsError> {
        self.file.read_exact_at(bytes, start).map_err(|source| WeightsError::Io { path: self.path.clone(), source })
    }
}

/// A matrix that stays in its file, read row by row. The word embeddings are half of the model, and a text touches a few
/// hundred of their 30,522 rows: the page cache keeps those, and the process none. A file that is replaced by rename
/// stays readable here.
#[derive(Debug)]
pub(crate) struct RowTable {
    file: File,
    start: u64,
    shape: [usize; 2],
}

impl RowTable {
    /// Adds row `row` to `sum`, which has the row's length.
    ///
    /// # Errors
    /// `InvalidInput` for a row the table does not have, and whatever reading the file gives.
    pub(crate) fn add_row(&self, row: usize, sum: &mut [f32]) -> io::Result<()> {
        let [rows, columns] = self.shape;
        if row >= rows || sum.len() != columns {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("row {row} of {} values in a table of {rows} × {columns}", sum.len()),
            ));
        }
        let mut bytes = [0; 2048];
        let row_bytes = columns * F32_BYTES;
        let mut at = self.start + (row * row_bytes) as u64;
        for part in sum.chunks_mut(bytes.len() / F32_BYTES) {
            let bytes = &mut bytes[..part.len() * F32_BYTES];
            self.file.read_exact_at(bytes, at)?;
            at += bytes.len() as u64;
            part.iter_mut().zip(floats(bytes)).for_each(|(sum, value)| *sum += value);
        }
        Ok(())
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<F32_BYTES>().0.iter().map(|value| f32::from_le_bytes(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one 2 × 2 tensor `a` of f32.
    fn file(header: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()));
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    const HEADER: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;

    #[test]
    fn a_tensor_is_read_whole_or_by_row() {
        let file = file(HEADER);
        let weights = Weights::open(file.path()).unwrap();
        assert_eq!(weights.read("a", &[2, 2]).unwrap(), [1.0, 2.0, 3.0, 4.0]);
        let mut sum = [10.0, 20.0];
        let rows = weights.rows("a", [2, 2]).unwrap();
        rows.add_row(1, &mut sum).unwrap();
        assert_eq!(sum, [13.0, 24.0]);
        assert_eq!(rows.add_row(2, &mut sum).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[track_caller]
    fn check_error(header: &str, expected: &str) {
        let file = file(header);
        let error = Weights::open(file.path()).and_then(|weights| weights.read("a", &[2, 2])).unwrap_err().to_string();
        assert_eq!(error.replace(&file.path().display().to_string(), "F"), expected);
    }

    #[test]
    fn a_file_of_another_form_is_refused() {
        let wrong = "F: the tensor a is not a tensor of f32 with the shape [2, 2]";
        check_error(r#"{"b":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#, wrong);
        check_error(r#"{"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,16]}}"#, wrong);
        check_error(r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#, wrong);
        check_error(r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[16,0]}}"#, wrong);
        check_error(r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}}"#, "failed to read F: failed to fill whole buffer");
        check_error("[]", "F is not a safetensors file: invalid type: sequence, expected a map at line 1 column 0");
    }
}
