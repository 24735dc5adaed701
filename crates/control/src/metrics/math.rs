//! Metric math, the simple part of it: arithmetic, comparisons, `IF` and `FILL` over series of the same period
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>). What is not computed here is refused when it is read.

use std::collections::BTreeMap;

/// How deep an expression may be; CloudWatch takes 1024 characters.
const DEPTH_MAX: usize = 64;
const CHARS_MAX: usize = 1024;

/// A series: numbers by moments.
pub(crate) type Points = BTreeMap<i64, f64>;

/// An expression, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Number(f64),
    /// Another query's id.
    Of(String),
    Negated(Box<Expression>),
    Two(Operator, Box<Expression>, Box<Expression>),
    /// A condition, and what counts where it holds and where not.
    If(Box<Expression>, Box<Expression>, Box<Expression>),
    /// A series whose gaps are filled with a number.
    Fill(Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Plus,
    Minus,
    Times,
    Over,
    Power,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    And,
    Or,
}

impl Operator {
    /// What a sign means, by how it binds: loosest first.
    const LEVELS: [&[(&str, Operator)]; 5] = [
        &[("OR", Operator::Or), ("||", Operator::Or)],
        &[("AND", Operator::And), ("&&", Operator::And)],
        &[
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ],
        &[("+", Operator::Plus), ("-", Operator::Minus)],
        &[("*", Operator::Times), ("/", Operator::Over)],
    ];

    /// The result; a comparison's is one or zero. Nothing of what is no number, such as a division by zero.
    fn of(self, left: f64, right: f64) -> Option<f64> {
        let truth = |truth: bool| if truth { 1.0 } else { 0.0 };
        let result = match self {
            Operator::Plus => left + right,
            Operator::Minus => left - right,
            Operator::Times => left * right,
            Operator::Over => left / right,
            Operator::Power => left.powf(right),
            Operator::Less => truth(left < right),
            Operator::LessOrEqual => truth(left <= right),
            Operator::Greater => truth(left > right),
            Operator::GreaterOrEqual => truth(left >= right),
            #[expect(clippy::float_cmp, reason = "what the expression asks for")]
            Operator::Equal => truth(left == right),
            #[expect(clippy::float_cmp, reason = "what the expression asks for")]
            Operator::NotEqual => truth(left != right),
            Operator::And => truth(left != 0.0 && right != 0.0),
            Operator::Or => truth(left != 0.0 || right != 0.0),
        };
        result.is_finite().then_some(result)
    }
}

/// What an expression gives: one number for all moments, or a series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Points(Points),
}

impl Value {
    fn at(&self, moment: i64) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Points(points) => points.get(&moment).copied(),
        }
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What it says that is not understood, in a sentence.
    pub(crate) fn parse(text: &str) -> Result<Expression, String> {
        if text.chars().count() > CHARS_MAX {
            return Err(format!("an expression has at most {CHARS_MAX} characters"));
        }
        let mut reader = Reader { rest: text, depth: 0 };
        let expression = reader.level(0)?;
        match reader.rest.trim_start() {
            "" => Ok(expression),
            rest => Err(format!("`{rest}` is not understood")),
        }
    }

    /// The ids that it names.
    pub(crate) fn ids(&self) -> Vec<&str> {
        match self {
            Expression::Number(_) => Vec::new(),
            Expression::Of(id) => vec![id],
            Expression::Negated(inner) => inner.ids(),
            Expression::Two(_, left, right) | Expression::Fill(left, right) => [left.ids(), right.ids()].concat(),
            Expression::If(condition, then, other) => [condition.ids(), then.ids(), other.ids()].concat(),
        }
    }

    /// Computes it. `moments` are the beginnings of all periods, of which `FILL` fills those without data; ids that `named` does not know have no data.
    pub(crate) fn compute(&self, named: &BTreeMap<String, Value>, moments: &[i64]) -> Value {
        match self {
            Expression::Number(number) => Value::Number(*number),
            Expression::Of(id) => named.get(id).cloned().unwrap_or_else(|| Value::Points(Points::new())),
            Expression::Negated(inner) => combine([inner.compute(named, moments), Value::Number(0.0)], |[value, _]| Some(-value)),
            Expression::Two(operator, left, right) => {
                let both = [left.compute(named, moments), right.compute(named, moments)];
                combine(both, |[left, right]| operator.of(left, right))
            }
            Expression::If(condition, then, other) => {
                let (condition, then, other) =
                    (condition.compute(named, moments), then.compute(named, moments), other.compute(named, moments));
                let chosen = |moment| if condition.at(moment)? == 0.0 { other.at(moment) } else { then.at(moment) };
                match (&condition, &then, &other) {
                    (Value::Number(condition), Value::Number(then), Value::Number(other)) => {
                        Value::Number(if *condition == 0.0 { *other } else { *then })
                    }
                    _ => Value::Points(moments.iter().filter_map(|moment| Some((*moment, chosen(*moment)?))).collect()),
                }
            }
            Expression::Fill(inner, with) => {
                let (inner, with) = (inner.compute(named, moments), with.compute(named, moments));
                let filled = |moment: &i64| Some((*moment, inner.at(*moment).or_else(|| with.at(*moment))?));
                Value::Points(moments.iter().filter_map(filled).collect())
            }
        }
    }
}

/// Two values, moment by moment: where one has no data, neither has the result.
fn combine(values: [Value; 2], with: impl Fn([f64; 2]) -> Option<f64>) -> Value {
    match &values {
        [Value::Number(left), Value::Number(right)] => with([*left, *right]).map_or_else(|| Value::Points(Points::new()), Value::Number),
        [Value::Points(points), _] | [_, Value::Points(points)] => {
            let at = |moment: &i64| Some((*moment, with([values[0].at(*moment)?, values[1].at(*moment)?])?));
            Value::Points(points.keys().filter_map(at).collect())
        }
    }
}

/// Reads from left to right, by how operators bind.
struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn level(&mut self, level: usize) -> Result<Expression, String> {
        let Some(operators) = Operator::LEVELS.get(level) else { return self.power() };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            left = Expression::Two(operator, Box::new(left), Box::new(self.level(level + 1)?));
        }
        Ok(left)
    }

    fn power(&mut self) -> Result<Expression, String> {
        let base = self.single()?;
        if self.takes("^") {
            return Ok(Expression::Two(Operator::Power, Box::new(base), Box::new(self.deeper(Reader::power)?)));
        }
        Ok(base)
    }

    fn single(&mut self) -> Result<Expression, String> {
        if self.takes("-") {
            return Ok(Expression::Negated(Box::new(self.deeper(Reader::power)?)));
        }
        if self.takes("(") {
            let inner = self.deeper(|reader| reader.level(0))?;
            self.must_take(")")?;
            return Ok(inner);
        }
        let word = self.word();
        match word.chars().next() {
            None => Err(format!("a number, an id or `(` is expected before `{}`", self.rest.trim_start())),
            Some(first) if first.is_ascii_digit() || first == '.' => {
                word.parse().map(Expression::Number).map_err(|_| format!("`{word}` is no number"))
            }
            Some(_) if self.takes("(") => {
                let mut arguments = vec![self.deeper(|reader| reader.level(0))?];
                while self.takes(",") {
                    arguments.push(self.deeper(|reader| reader.level(0))?);
                }
                self.must_take(")")?;
                let mut arguments = arguments.into_iter().map(Box::new);
                let mut next = || arguments.next();
                match (word.as_str(), next(), next(), next(), next()) {
                    ("IF", Some(condition), Some(then), Some(other), None) => Ok(Expression::If(condition, then, other)),
                    ("FILL", Some(inner), Some(with), None, None) => Ok(Expression::Fill(inner, with)),
                    _ => Err(format!(
                        "{word} is not computed here: arithmetic, comparisons, IF(condition, a, b) and FILL(series, number) are"
                    )),
                }
            }
            Some(first) if first.is_ascii_lowercase() => Ok(Expression::Of(word)),
            Some(_) => Err(format!("`{word}` is no id, which begins with a small letter")),
        }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("it is nested too deep".to_owned());
        }
        let done = read(self);
        self.depth -= 1;
        done
    }

    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        operators.iter().find(|(sign, _)| self.takes(sign)).map(|(_, operator)| *operator)
    }

    /// Takes a sign, if it comes next. A word is only taken whole.
    fn takes(&mut self, sign: &str) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(sign) else { return false };
        let is_word = sign.starts_with(|letter: char| letter.is_ascii_alphabetic());
        if is_word && rest.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_') {
            return false;
        }
        self.rest = rest;
        true
    }

    fn must_take(&mut self, sign: &str) -> Result<(), String> {
        if self.takes(sign) { Ok(()) } else { Err(format!("`{sign}` is missing before `{}`", self.rest)) }
    }

    fn word(&mut self) -> String {
        let text = self.rest.trim_start();
        let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != '.').unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(i64, f64)]) {
        let points = |points: &[(i64, f64)]| Value::Points(points.iter().copied().collect());
        let named = BTreeMap::from([
            ("errors".to_owned(), points(&[(0, 5.0), (60, 0.0)])),
            ("count".to_owned(), points(&[(0, 50.0), (60, 0.0), (120, 8.0)])),
        ]);
        let computed = Expression::parse(text).unwrap().compute(&named, &[0, 60, 120]);
        assert_eq!(computed, points(expected), "{text}");
    }

    #[test]
    fn a_share_is_computed_where_there_are_both() {
        check("100*errors/count", &[(0, 10.0)]);
        check("IF(count > 0, 100 * FILL(errors, 0) / count, 0)", &[(0, 10.0), (60, 0.0), (120, 0.0)]);
        check("errors + count", &[(0, 55.0), (60, 0.0)]);
        check("FILL(errors, -1)", &[(0, 5.0), (60, 0.0), (120, -1.0)]);
        check("-errors * 2 ^ 3 - (1 + 1)", &[(0, -42.0), (60, -2.0)]);
        check("count >= 8 AND count < 50", &[(0, 0.0), (60, 0.0), (120, 1.0)]);
        check("errors / other", &[]);
    }

    #[test]
    fn numbers_bind_as_everywhere() {
        let check = |text: &str, expected: f64| {
            assert_eq!(Expression::parse(text).unwrap().compute(&BTreeMap::new(), &[]), Value::Number(expected), "{text}");
        };
        check("1 + 2 * 3", 7.0);
        check("(1 + 2) * 3", 9.0);
        check("8 / 4 / 2", 1.0);
        check("2 ^ 3 ^ 2", 512.0);
        check("1 - -1", 2.0);
        check("1 < 2 == 1", 1.0);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let check = |text: &str, expected: &str| {
            let error = Expression::parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("ANOMALY_DETECTION_BAND(m1, 2)", "ANOMALY_DETECTION_BAND is not computed here");
        check("m1 +", "is expected before ``");
        check("m1 m2", "`m2` is not understood");
        check("(m1", "`)` is missing");
        check("IF(a, b)", "IF is not computed");
        check("M1", "no id");
        check("1.2.3", "no number");
        check(&"(".repeat(200), "nested too deep");
        check(&"-".repeat(1000), "nested too deep");
        check(&"é".repeat(2000), "at most 1024");
        assert_eq!(Expression::parse("100*errors/count").unwrap().ids(), ["errors", "count"]);
    }
}
