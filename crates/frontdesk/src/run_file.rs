//! What a running host leaves in its data folder, so that the command line beside it finds it: addresses in `run.json`, the root access key in
//! `root-access-key.json` (both mode 0600).

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

pub(crate) const RUN_FILE: &str = "run.json";
pub(crate) const ROOT_KEY_FILE: &str = "root-access-key.json";

/// Where a host answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunFile {
    pub(crate) pid: u32,
    pub(crate) gateway: String,
    pub(crate) endpoint: String,
    pub(crate) control: String,
    pub(crate) region: String,
    /// The file of the certificate that the gateway shows, where it speaks TLS.
    #[serde(default)]
    pub(crate) certificate: Option<PathBuf>,
}

/// The root access key. `Debug` is absent on purpose.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RootKeyFile {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl RunFile {
    /// Finds the host that runs on the settings' data folder.
    pub(crate) fn find(settings: &Settings) -> anyhow::Result<RunFile> {
        let folder = &settings.data_dir;
        read(folder, RUN_FILE)?.with_context(|| {
            format!(
                "no host is running on the data folder {}: start one with `frontdesk up`, or name its folder with --data-dir",
                folder.display()
            )
        })
    }
}

impl RootKeyFile {
    pub(crate) fn find(settings: &Settings) -> anyhow::Result<RootKeyFile> {
        let folder = &settings.data_dir;
        read(folder, ROOT_KEY_FILE)?
            .with_context(|| format!("the data folder {} has no root access key: `frontdesk up` makes one", folder.display()))
    }
}

fn read<T: for<'de> Deserialize<'de>>(folder: &Path, name: &str) -> anyhow::Result<Option<T>> {
    let path = folder.join(name);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
    };
    let value =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged; a restart of the host writes it anew", path.display()))?;
    Ok(Some(value))
}
