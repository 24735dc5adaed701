//! Whose account it is, told before anything in it is changed.

use super::{Aws, Call, CallError, operation};

/// The identity behind the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// Of the user or of the role's session.
    pub arn: String,
}

impl Account {
    /// The partition in which the account is: `aws`, `aws-cn`, `aws-us-gov`.
    pub fn partition(&self) -> &str {
        self.arn.split(':').nth(1).unwrap_or("aws")
    }
}

impl Aws {
    /// Asks STS who calls.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn account(&self) -> Result<Account, CallError> {
        let call = Call::new(&operation::GET_CALLER_IDENTITY, "the caller's own identity");
        let answer = self.send(call).await?;
        let root = answer.xml()?;
        let text = |name: &str| root.find(name).map(|element| element.text.clone()).ok_or_else(|| answer.lacks(name));
        Ok(Account { id: text("Account")?, arn: text("Arn")? })
    }
}
