//! Whether this machine can run what a version is made of.

use std::path::Path;

use frontdesk_store::{Artifact, LocalProgram, RuntimeConfiguration};

/// Checks that a version can be run here; the reason why not says what to do instead.
///
/// A container engine would be attached here and in `Launcher::child_spec`: this function would pull the image, and the child would be the engine's `run`.
/// Code in a bucket would be fetched here and become a [`LocalProgram`] the same way.
pub(crate) fn prepare(configuration: &RuntimeConfiguration) -> Result<(), String> {
    match &configuration.artifact {
        Artifact::Program(program) => check_program(program),
        Artifact::Container { uri } => Err(format!(
            "the image {uri} cannot be run: no container engine is attached to this host. Run the agent's program itself: \
             `frontdesk configure -e FILE`, then `frontdesk launch`"
        )),
        Artifact::Code { bucket, prefix, .. } => Err(format!(
            "the code s3://{bucket}/{prefix} is not on this machine, and the host fetches nothing from S3. Run the agent from its folder: \
             `frontdesk configure -e FILE`, then `frontdesk launch`"
        )),
    }
}

fn check_program(program: &LocalProgram) -> Result<(), String> {
    let LocalProgram { executable, working_dir, .. } = program;
    if !is_executable(executable) {
        return Err(format!(
            "{} is no file that can be executed: build it, or launch the agent with another program",
            executable.display()
        ));
    }
    match working_dir {
        Some(folder) if !folder.is_dir() => Err(format!("the working folder {} is not there", folder.display())),
        _ => Ok(()),
    }
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
