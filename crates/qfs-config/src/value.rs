//! What a value of a file is as words of a command line.

use std::any::TypeId;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction};
use toml::de::DeValue;

/// The words that say the same as `value` on the command line, for the option `arg`.
///
/// # Errors
/// What is expected instead, and how it is written.
pub(crate) fn words(key: &str, arg: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, (String, String)> {
    let found = name(value);
    let wrong = |expected: &str, example: &str| {
        (format!("{key} is {expected}, and this is {found}"), format!("write it as in {key} = {example}"))
    };
    match (arg.get_action(), value) {
        (ArgAction::SetTrue, DeValue::Boolean(value)) => Ok(vec![value.to_string()]),
        (ArgAction::SetTrue, _) => Err(wrong("a switch", "true")),
        (ArgAction::Count, DeValue::Integer(number)) if number.radix() == 10 => Ok(vec![number.as_str().to_owned()]),
        (ArgAction::Count, _) => Err(wrong("a number", "1")),
        (ArgAction::Append, DeValue::Array(values)) => values
            .iter()
            .map(|value| word(value.get_ref()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| wrong("a text or a list of texts", "[\"one\", \"another\"]")),
        (_, DeValue::Integer(_)) if takes_any_text(arg) => Err(wrong("a text", "\"…\"")),
        (_, value) => word(value).map(|word| vec![word]).ok_or_else(|| match arg.get_action() {
            ArgAction::Append => wrong("a text or a list of texts", "[\"one\", \"another\"]"),
            _ => wrong("a text or a whole number", "\"…\""),
        }),
    }
}

/// Whether the option takes texts and names of files as they are, to none of which a number is alike.
fn takes_any_text(arg: &Arg) -> bool {
    let kind = arg.get_value_parser().type_id();
    [TypeId::of::<String>(), TypeId::of::<OsString>(), TypeId::of::<PathBuf>()].iter().any(|text| kind == *text)
}

fn word(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        _ => None,
    }
}

fn name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
