//! Patch operations: `op`, a path whose segments write `/` as `~1`, and a value that is always a text
//! (<https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html>).

use frontdesk_aws::ServiceError;

use super::bad_request;
use super::requests::PatchOperation;

/// What is done to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Remove,
    Replace,
}

/// A patch operation, read.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) op: Op,
    /// The path's segments, unescaped.
    pub(super) segments: Vec<String>,
    pub(super) value: Option<String>,
    path: String,
}

impl Step {
    /// Reads an operation.
    ///
    /// # Errors
    /// BadRequestException for an `op` that is not served and a path that is none.
    pub(super) fn read(operation: PatchOperation) -> Result<Step, ServiceError> {
        let PatchOperation { op, path, value } = operation;
        let op = match op.as_str() {
            "add" => Op::Add,
            "remove" => Op::Remove,
            "replace" => Op::Replace,
            other => {
                return Err(bad_request(format!("Invalid patch operation specified: {other}. Must be one of: [add, remove, replace]")));
            }
        };
        let segments =
            path.strip_prefix('/').ok_or_else(|| bad_request(format!("Invalid patch path {path}: it must begin with a slash")))?;
        let segments = segments.split('/').map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
        Ok(Step { op, segments, value, path })
    }

    /// The segments, to be matched.
    pub(super) fn place(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// The value, which `add` and `replace` must have.
    pub(super) fn text(&self) -> Result<String, ServiceError> {
        self.value.clone().ok_or_else(|| bad_request(format!("Invalid patch value: {} needs a value", self.path)))
    }

    /// The value to put, or none where the operation removes.
    pub(super) fn optional(&self) -> Result<Option<String>, ServiceError> {
        if self.op == Op::Remove { Ok(None) } else { self.text().map(Some) }
    }

    /// The value, read as something.
    pub(super) fn parsed<T: std::str::FromStr>(&self) -> Result<T, ServiceError> {
        let text = self.text()?;
        text.parse().map_err(|_| bad_request(format!("Invalid patch value '{text}' specified for path '{}'", self.path)))
    }

    /// The answer for a place that cannot be patched.
    pub(super) fn no_such_place(&self, places: &[&str]) -> ServiceError {
        let op = match self.op {
            Op::Add => "add",
            Op::Remove => "remove",
            Op::Replace => "replace",
        };
        bad_request(format!("Invalid patch path '{}' specified for op '{op}'. Must be one of: [{}]", self.path, places.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(op: &str, path: &str, expected: Result<&[&str], &str>) {
        let read = Step::read(PatchOperation { op: op.to_owned(), path: path.to_owned(), value: None });
        let found = read.map(|step| step.segments).map_err(|error| error.message);
        let expected = expected.map(|segments| segments.iter().map(|segment| (*segment).to_owned()).collect()).map_err(str::to_owned);
        assert_eq!(found, expected, "{op} {path}");
    }

    #[test]
    fn paths_are_read_by_segment() {
        check("replace", "/throttle/rateLimit", Ok(&["throttle", "rateLimit"]));
        check("replace", "/~1invoke/POST/throttling/rateLimit", Ok(&["/invoke", "POST", "throttling", "rateLimit"]));
        check("add", "/variables/a~01", Ok(&["variables", "a~1"]));
        check("copy", "/a", Err("Invalid patch operation specified: copy. Must be one of: [add, remove, replace]"));
        check("add", "a", Err("Invalid patch path a: it must begin with a slash"));
    }
}
