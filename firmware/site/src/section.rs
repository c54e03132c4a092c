//! Reading one table of the configuration: each key with its type, place and range; whatever is not named is refused.

use crate::fault::{Collector, Span};
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and the place where it was written.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// One table, `[tunnel]` for example.
pub(crate) struct Section<'a, 'i> {
    title: &'static str,
    at: Span,
    table: &'a DeTable<'i>,
}

impl<'a, 'i> Section<'a, 'i> {
    /// Takes the table and refuses every key that is not in `known`.
    pub(crate) fn new(
        faults: &mut Collector<'_>,
        title: &'static str,
        at: Span,
        table: &'a DeTable<'i>,
        known: &[&str],
    ) -> Self {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let place = if title.is_empty() {
                String::new()
            } else {
                format!(" in {title}")
            };
            let message = format!("unknown key {name:?}{place}, allowed: {}", known.join(", "));
            match known
                .iter()
                .find(|candidate| distance(name, candidate) <= 2)
            {
                Some(near) => {
                    faults.fault_with_hint(&key.span(), message, format!("did you mean {near:?}?"))
                }
                None => faults.fault(&key.span(), message),
            }
        }
        Self { title, at, table }
    }

    fn place(&self, key: &str) -> String {
        if self.title.is_empty() {
            format!("key {key:?}")
        } else {
            format!("key {key:?} of {}", self.title)
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where the key's name stands.
    pub(crate) fn key_span(&self, key: &str) -> Span {
        self.table
            .get_key_value(key)
            .map_or_else(|| self.at.clone(), |(name, _)| name.span())
    }

    fn missing(&self, faults: &mut Collector<'_>, key: &str, allowed: &str) {
        faults.fault(
            &self.at,
            format!("{} is missing, allowed: {allowed}", self.place(key)),
        );
    }

    /// A string that `parse` accepts; a fault when the key is missing.
    pub(crate) fn required<T>(
        &self,
        faults: &mut Collector<'_>,
        key: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<At<T>> {
        if !self.has(key) {
            self.missing(faults, key, allowed);
            return None;
        }
        self.optional(faults, key, allowed, parse)
    }

    /// A string that `parse` accepts, when the key is there.
    pub(crate) fn optional<T>(
        &self,
        faults: &mut Collector<'_>,
        key: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.table.get(key)?;
        self.parsed(faults, key, value, allowed, parse)
    }

    /// As `required`, but what was written is not repeated in a message.
    pub(crate) fn secret<T>(
        &self,
        faults: &mut Collector<'_>,
        key: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<At<T>> {
        let Some(value) = self.table.get(key) else {
            self.missing(faults, key, allowed);
            return None;
        };
        let parsed = value.get_ref().as_str().and_then(parse);
        if parsed.is_none() {
            faults.fault(
                &value.span(),
                format!(
                    "{} is not of the right form, allowed: {allowed}",
                    self.place(key)
                ),
            );
        }
        Some(At {
            value: parsed?,
            span: value.span(),
        })
    }

    fn parsed<T>(
        &self,
        faults: &mut Collector<'_>,
        key: &str,
        value: &Spanned<DeValue<'i>>,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<At<T>> {
        let Some(text) = value.get_ref().as_str() else {
            let kind = value.get_ref().type_str();
            faults.fault(
                &value.span(),
                format!(
                    "{} is of type {kind}, allowed: a string, {allowed}",
                    self.place(key)
                ),
            );
            return None;
        };
        match parse(text) {
            Some(parsed) => Some(At {
                value: parsed,
                span: value.span(),
            }),
            None => {
                let message = format!(
                    "{} does not allow {}, allowed: {allowed}",
                    self.place(key),
                    quoted(text)
                );
                faults.fault(&value.span(), message);
                None
            }
        }
    }

    /// A list of strings, each accepted by `parse`, as many as `count` allows.
    pub(crate) fn list<T>(
        &self,
        faults: &mut Collector<'_>,
        key: &str,
        allowed: &str,
        count: RangeInclusive<usize>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<At<T>>> {
        let allowed_list = format!(
            "a list of {} to {}, each {allowed}",
            count.start(),
            count.end()
        );
        let Some(value) = self.table.get(key) else {
            self.missing(faults, key, &allowed_list);
            return None;
        };
        let Some(array) = value.get_ref().as_array() else {
            let kind = value.get_ref().type_str();
            faults.fault(
                &value.span(),
                format!(
                    "{} is of type {kind}, allowed: {allowed_list}",
                    self.place(key)
                ),
            );
            return None;
        };
        if !count.contains(&array.len()) {
            faults.fault(
                &value.span(),
                format!(
                    "{} has {} entries, allowed: {allowed_list}",
                    self.place(key),
                    array.len()
                ),
            );
            return None;
        }
        let entries: Vec<_> = array
            .iter()
            .map(|entry| self.parsed(faults, key, entry, allowed, &parse))
            .collect();
        entries.into_iter().collect()
    }

    /// A whole number within `range`; `default` when the key is not there, a fault when there is no default either.
    pub(crate) fn number(
        &self,
        faults: &mut Collector<'_>,
        key: &str,
        range: RangeInclusive<u32>,
        default: Option<u32>,
    ) -> Option<At<u32>> {
        let allowed = match (range.start(), range.end()) {
            (least, most) if least == most => format!("{least}"),
            (least, most) => format!("a whole number from {least} to {most}"),
        };
        let Some(value) = self.table.get(key) else {
            if default.is_none() {
                self.missing(faults, key, &allowed);
            }
            return Some(At {
                value: default?,
                span: self.at.clone(),
            });
        };
        let number = value.get_ref().as_integer().and_then(|integer| {
            u32::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .filter(|number| range.contains(number))
        });
        if number.is_none() {
            let written = match value.get_ref().as_integer() {
                Some(integer) => integer.to_string(),
                None => format!("a {}", value.get_ref().type_str()),
            };
            let message = format!(
                "{} does not allow {written}, allowed: {allowed}",
                self.place(key)
            );
            faults.fault(&value.span(), message);
        }
        Some(At {
            value: number?,
            span: value.span(),
        })
    }
}

/// What was written, shortened: a message must fit on a screen.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 64;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    format!("{:?}...", text.chars().take(LONGEST).collect::<String>())
}

/// Levenshtein's distance, for names of a few characters; longer ones are far from everything.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > 32 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
