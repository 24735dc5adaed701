//! A dated table of AWS's list prices: what `deploy` estimates with, and what this host's traffic is priced with.
//!
//! They are us-east-1's list prices without free tiers, discounts, taxes, data sent to the internet, and the model provider's bill. They are as widely
//! quoted on the table's date; AWS's own pages were not at hand to check them against, so each is to be read as an estimate.

/// The day of the price table.
pub const PRICES_OF: &str = "2026-11-23";
/// Where the prices are published.
pub const PRICE_PAGES: &[&str] = &[
    "https://aws.amazon.com/api-gateway/pricing/",
    "https://aws.amazon.com/lambda/pricing/",
    "https://aws.amazon.com/bedrock/agentcore/pricing/",
    "https://aws.amazon.com/cloudwatch/pricing/",
    "https://aws.amazon.com/ecr/pricing/",
    "https://aws.amazon.com/secrets-manager/pricing/",
];

/// Dollars for a million requests of a REST API.
pub const API_MILLION: f64 = 3.50;
/// Dollars for a million invocations of a function.
pub const FUNCTION_MILLION: f64 = 0.20;
/// Dollars for a GB-second of a function on arm64.
pub const FUNCTION_GB_S: f64 = 0.000_013_333_4;
/// Dollars for an hour of a processor in AgentCore; idle processors are not paid for.
pub const AGENT_CPU_H: f64 = 0.0895;
/// Dollars for an hour of a GB in AgentCore, for as long as a session lives.
pub const AGENT_GB_H: f64 = 0.009_45;
/// Dollars for a GB of logs taken in.
pub const LOG_GB: f64 = 0.50;
/// Dollars a month for an alarm, for each metric it looks at.
pub const ALARM_METRIC: f64 = 0.10;
/// Dollars a month for a metric of one's own.
pub const METRIC: f64 = 0.30;
/// Dollars a month for a secret.
pub const SECRET: f64 = 0.40;
/// Dollars a month for a GB of code in S3.
pub const CODE_GB: f64 = 0.023;
/// Dollars a month for a GB of images.
pub const IMAGE_GB: f64 = 0.10;
