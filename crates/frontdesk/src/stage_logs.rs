//! Where the access logs of stages go: the log group that an ARN names is a file in the data folder.

use std::path::{Path, PathBuf};

use frontdesk_aws::arn::Arn;
use frontdesk_gateway::stage_logs::{Destinations, OpenSink};
use frontdesk_process::LogFile;

/// The folder of log groups in the data folder.
const FOLDER: &str = "logs/log-groups";
/// Most file systems' bound on a file's name.
const FILE_NAME_BYTES_MAX: usize = 255;
/// API Gateway's words for a destination that is none.
const INVALID_ARN: &str = "Invalid ARN specified in the request";

/// Log groups as files.
#[derive(Debug)]
pub(crate) struct LogGroupFiles {
    folder: PathBuf,
}

impl LogGroupFiles {
    pub(crate) fn new(data_folder: &Path) -> LogGroupFiles {
        LogGroupFiles { folder: data_folder.join(FOLDER) }
    }
}

impl Destinations for LogGroupFiles {
    fn find(&self, arn: &str) -> Result<OpenSink, String> {
        let (folder, file) = (self.folder.clone(), file_name(arn)?);
        Ok(Box::new(move || {
            std::fs::create_dir_all(&folder)?;
            let file = LogFile::open(&folder.join(file))?;
            Ok(Box::new(move |line| file.append(line)))
        }))
    }
}

/// The file of a log group: its name with `~`, which is in none, for the slashes.
fn file_name(arn: &str) -> Result<PathBuf, String> {
    let Arn { service, resource, .. } = arn.parse().map_err(|_| INVALID_ARN.to_owned())?;
    if service == "firehose" {
        return Err(format!(
            "{INVALID_ARN}: Firehose is not served here, name a log group (arn:aws:logs:{{region}}:{{account}}:log-group:{{name}})"
        ));
    }
    let name = resource.strip_prefix("log-group:").filter(|_| service == "logs").ok_or(INVALID_ARN)?;
    // CloudWatch Logs shows its ARNs with this behind them, API Gateway wants them without.
    let name = name.strip_suffix(":*").unwrap_or(name);
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'#');
    let file_name = format!("{}.log", name.replace('/', "~"));
    if name.is_empty() || !name.bytes().all(is_letter) || file_name.len() > FILE_NAME_BYTES_MAX {
        return Err(INVALID_ARN.to_owned());
    }
    Ok(PathBuf::from(file_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arn: &str, expected: Result<&str, &str>) {
        match (file_name(arn), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, Path::new(expected), "{arn}"),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{arn}: {error}"),
            (found, expected) => panic!("{arn}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn a_log_group_has_one_file_in_the_folder() {
        let group = "arn:aws:logs:us-east-1:000000000000:log-group:";
        check(&format!("{group}/aws/apigateway/abc"), Ok("~aws~apigateway~abc.log"));
        check(&format!("{group}orders:*"), Ok("orders.log"));
        check(&format!("{group}../../etc/passwd"), Ok("..~..~etc~passwd.log"));
        check(&format!("{group}.."), Ok("...log"));
        check("arn:aws:firehose:us-east-1:000000000000:deliverystream/amazon-apigateway-x", Err("Firehose is not served"));
        for wrong in ["", "/tmp/x", group, "arn:aws:s3:::bucket", "arn:aws:logs:us-east-1:000000000000:other:x"] {
            check(wrong, Err(INVALID_ARN));
        }
        check(&format!("{group}a\u{0}b"), Err(INVALID_ARN));
        check(&format!("{group}{}", "x".repeat(300)), Err(INVALID_ARN));
    }
}
