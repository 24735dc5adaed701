//! What a program can run on, read from its ELF header: an image that says one thing and holds another fails only on AWS, minutes later.

use std::fmt;
use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::abi::{DT_NEEDED, EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, PT_INTERP};
use elf::endian::LittleEndian;

use super::ImageError;

/// A platform of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// `linux/arm64`: Graviton. AgentCore runs nothing else.
    LinuxArm64,
    /// `linux/amd64`.
    LinuxAmd64,
}

impl Platform {
    /// As OCI's documents name the architecture.
    pub fn architecture(self) -> &'static str {
        match self {
            Platform::LinuxArm64 => "arm64",
            Platform::LinuxAmd64 => "amd64",
        }
    }

    /// The folders' and compilers' word for it, as in `/usr/lib/aarch64-linux-gnu`.
    pub(super) fn multiarch(self) -> &'static str {
        match self {
            Platform::LinuxArm64 => "aarch64-linux-gnu",
            Platform::LinuxAmd64 => "x86_64-linux-gnu",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture())
    }
}

/// A program or a library, as far as its header tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Executable {
    pub(super) platform: Platform,
    /// The loader that a dynamic program asks for, such as `/lib64/ld-linux-x86-64.so.2`.
    pub(super) interpreter: Option<PathBuf>,
    /// The libraries it asks for by name, such as `libc.so.6`.
    pub(super) needed: Vec<String>,
}

impl Executable {
    /// Reads the header of the program or library at `path`.
    ///
    /// # Errors
    /// [`ImageError::Read`]; [`ImageError::NotAProgram`] for what is no 64-bit ELF program of a known machine.
    pub(super) fn read(path: &Path) -> Result<Executable, ImageError> {
        let bytes = std::fs::read(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
        Executable::parse(&bytes).map_err(|reason| ImageError::NotAProgram { path: path.to_owned(), reason })
    }

    fn parse(bytes: &[u8]) -> Result<Executable, String> {
        if !bytes.starts_with(b"\x7fELF") {
            return Err("it is not an ELF file".to_owned());
        }
        let damaged = |error: elf::ParseError| format!("its ELF header is damaged: {error}");
        let file = ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(damaged)?;
        let platform = match (file.ehdr.class, file.ehdr.e_machine) {
            (elf::file::Class::ELF64, EM_AARCH64) => Platform::LinuxArm64,
            (elf::file::Class::ELF64, EM_X86_64) => Platform::LinuxAmd64,
            (_, machine) => return Err(format!("it is for ELF machine {machine}, neither 64-bit x86 nor 64-bit ARM")),
        };
        if ![ET_EXEC, ET_DYN].contains(&file.ehdr.e_type) {
            return Err(format!("it is an ELF file of type {}, which cannot be run", file.ehdr.e_type));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
        let interpreter = file.segments().into_iter().flatten().find(|segment| segment.p_type == PT_INTERP);
        let interpreter = interpreter.map(|segment| file.segment_data(&segment)).transpose().map_err(damaged)?;
        let mut needed = Vec::new();
        if let (Some(dynamic), Some((_, names))) = (file.dynamic().map_err(damaged)?, file.dynamic_symbol_table().map_err(damaged)?) {
            for entry in dynamic.into_iter().filter(|entry| entry.d_tag == DT_NEEDED) {
                let offset = usize::try_from(entry.d_val()).map_err(|error| error.to_string())?;
                needed.push(names.get(offset).map_err(damaged)?.to_owned());
            }
        }
        Ok(Executable { platform, interpreter: interpreter.map(|bytes| PathBuf::from(text(bytes))), needed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a 64-bit little-endian ELF file without segments or sections.
    fn header(e_type: u16, machine: u16) -> Vec<u8> {
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(16, 0);
        header.extend(e_type.to_le_bytes());
        header.extend(machine.to_le_bytes());
        header.extend(1u32.to_le_bytes());
        header.resize(52, 0);
        // Sizes: of this header, of a program header (none follows), of a section header (none follows).
        for size in [64u16, 56, 0, 64, 0, 0] {
            header.extend(size.to_le_bytes());
        }
        header
    }

    #[test]
    fn the_header_tells_the_platform() {
        let check = |bytes: &[u8], expected: Result<Platform, &str>| match (Executable::parse(bytes), expected) {
            (Ok(found), Ok(platform)) => assert_eq!(found, Executable { platform, interpreter: None, needed: Vec::new() }),
            (Err(reason), Err(words)) => assert!(reason.contains(words), "{reason}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        };
        check(&header(2, 183), Ok(Platform::LinuxArm64));
        check(&header(3, 62), Ok(Platform::LinuxAmd64));
        check(&header(2, 243), Err("ELF machine 243"));
        check(&header(1, 183), Err("type 1, which cannot be run"));
        check(&header(2, 183)[..40], Err("damaged"));
        check(b"#!/bin/sh\n", Err("not an ELF file"));
        check(b"", Err("not an ELF file"));
    }

    #[test]
    fn this_test_is_itself_a_dynamic_program() {
        let found = Executable::read(&std::env::current_exe().unwrap()).unwrap();
        assert!(found.interpreter.unwrap().is_absolute());
        assert!(found.needed.iter().any(|name| name == "libc.so.6"), "{:?}", found.needed);
    }
}
