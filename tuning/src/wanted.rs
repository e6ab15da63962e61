//! What a value should be, as data, and the arithmetic that makes it a number for this host.
//!
//! An [`Amount`] is a sum of terms (so much, so much for each connection, for each core) with
//! bounds around it. [`Wanted`] is what is asked of a value or of each field of one.
//! [`Wanted::judge`] answers what the fields should be instead, or nothing where they are good.

use serde::Deserialize;

use crate::machine::{Machine, Need};

/// How a number is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// As it stands.
    #[default]
    Count,
    /// Bytes.
    Bytes,
    /// Pages; amounts are written in bytes all the same.
    Pages,
}

/// What numbers are made from.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The host.
    pub machine: &'a Machine,
    /// The configuration.
    pub need: &'a Need,
    /// The knob's.
    pub unit: Unit,
    /// The most that the place itself allows.
    pub max: Option<u64>,
}

/// A sum with bounds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Amount {
    base: f64,
    per_connection: f64,
    per_core: f64,
    backlog: f64,
    files_needed: f64,
    files_wanted: f64,
    windows: f64,
    of_max: f64,
    floor: Option<f64>,
    ceiling: Option<f64>,
    memory_share_max: Option<f64>,
    max_caps: bool,
}

impl Amount {
    /// A plain number.
    pub fn fixed(number: f64) -> Self {
        Self { base: number, ..Self::default() }
    }

    /// The number for a host.
    pub fn number(&self, terms: &Terms) -> u64 {
        let Terms { machine, need, unit, max } = *terms;
        let max = max.map_or(f64::INFINITY, |max| max as f64);
        let mut sum = self.base
            + self.per_connection * need.connections_max as f64
            + self.per_core * machine.cores as f64
            + self.backlog * need.backlog as f64
            + self.files_needed * need.files_needed as f64
            + self.files_wanted * need.files_wanted as f64
            + self.windows * need.windows_bytes as f64;
        if self.of_max > 0.0 {
            sum += self.of_max * max;
        }
        sum = sum.max(self.floor.unwrap_or(0.0)).min(self.ceiling.unwrap_or(f64::INFINITY));
        if let Some(share) = self.memory_share_max {
            sum = sum.min(share * machine.memory_usable_bytes() as f64);
        }
        if self.max_caps {
            sum = sum.min(max);
        }
        if unit == Unit::Pages {
            sum /= machine.page_bytes as f64;
        }
        // A product such as 1.1 * 1000 must not come out one too high.
        (sum - 1e-6).ceil().max(0.0) as u64
    }

    /// The formula in words.
    pub fn words(&self, unit: Unit) -> String {
        let amount = |number: f64| match unit {
            Unit::Count => format!("{number}"),
            Unit::Bytes | Unit::Pages => bytes_text(number as u64),
        };
        let mut terms = Vec::new();
        if self.base > 0.0 {
            terms.push(amount(self.base));
        }
        for (factor, what) in [
            (self.per_connection, "for each connection"),
            (self.per_core, "for each core"),
            (self.of_max, "of what it can be at most"),
        ] {
            if factor > 0.0 {
                terms.push(format!("{} {what}", amount(factor)));
            }
        }
        for (factor, what) in [
            (self.backlog, "the listener's backlog"),
            (self.files_needed, "the descriptors of the fullest table that must be"),
            (self.files_wanted, "the descriptors of one shard a core"),
            (self.windows, "all windows and the dedupe table, full"),
        ] {
            if factor > 0.0 {
                terms.push(what.to_owned());
            }
        }
        let mut text = if terms.is_empty() { "0".into() } else { terms.join(" + ") };
        if let Some(floor) = self.floor {
            text += &format!(", no less than {}", amount(floor));
        }
        if let Some(ceiling) = self.ceiling {
            text += &format!(", no more than {}", amount(ceiling));
        }
        if let Some(share) = self.memory_share_max {
            text += &format!(", no more than {} % of memory", share * 100.0);
        }
        if self.max_caps {
            text += ", no more than there are";
        }
        text
    }
}

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Nothing: it is told.
    Told,
    /// Nothing of this field.
    Any,
    /// Exactly this.
    Is(String),
    /// Any of these; the first is set.
    OneOf(Vec<String>),
    /// No less.
    AtLeast(Amount),
    /// No more.
    AtMost(Amount),
    /// One for each field.
    Fields(Vec<Wanted>),
    /// The probe says for each place; the words are for people.
    Computed(String),
}

/// A value that is not what the knob's wants are about: text where a number should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Wanted {
    /// What `fields` should be; `None` where they are good.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn judge(
        &self,
        fields: &[String],
        computed: Option<&str>,
        terms: &Terms,
    ) -> Result<Option<Vec<String>>, Unreadable> {
        let one = || fields.first().ok_or(Unreadable);
        match self {
            Self::Told | Self::Any => Ok(None),
            Self::Is(word) => Ok((one()? != word).then(|| vec![word.clone()])),
            Self::OneOf(words) => Ok((!words.contains(one()?)).then(|| vec![words[0].clone()])),
            Self::AtLeast(amount) => {
                let (now, bound) = (number(one()?)?, amount.number(terms));
                Ok((now < bound as f64).then(|| vec![bound.to_string()]))
            }
            Self::AtMost(amount) => {
                let (now, bound) = (number(one()?)?, amount.number(terms));
                Ok((now > bound as f64).then(|| vec![bound.to_string()]))
            }
            Self::Fields(all) => judge_fields(all, fields, terms),
            Self::Computed(_) => {
                let want = computed.ok_or(Unreadable)?;
                Ok((fields.join(" ") != want).then(|| vec![want.to_owned()]))
            }
        }
    }

    /// What is wanted here, short enough for a table.
    pub fn short(&self, computed: Option<&str>, terms: &Terms) -> String {
        let shown = |number: u64| show(&number.to_string(), terms.unit);
        match self {
            Self::Told => "-".into(),
            Self::Any => "*".into(),
            Self::Is(word) => word.clone(),
            Self::OneOf(words) => match &words[..] {
                [only] => only.clone(),
                [first, second] => format!("{first} or {second}"),
                [first, second, ..] => format!("{first}, {second}, .."),
                [] => String::new(),
            },
            Self::AtLeast(amount) => format!(">= {}", shown(amount.number(terms))),
            Self::AtMost(amount) => match amount.number(terms) {
                0 => "0".into(),
                number => format!("<= {}", shown(number)),
            },
            Self::Fields(all) => {
                let each = all.iter().map(|one| one.short(None, terms).replace(' ', ""));
                each.collect::<Vec<_>>().join(" ")
            }
            Self::Computed(words) => computed.unwrap_or(words).to_owned(),
        }
    }

    /// The rule in words.
    pub fn words(&self, unit: Unit) -> String {
        match self {
            Self::Told => "nothing is wanted; it is told".into(),
            Self::Any => "any".into(),
            Self::Is(word) => word.clone(),
            Self::OneOf(words) => match words.split_last() {
                Some((last, [])) => last.clone(),
                Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
                None => String::new(),
            },
            Self::AtLeast(amount) => format!("at least {}", amount.words(unit)),
            Self::AtMost(amount) => format!("at most {}", amount.words(unit)),
            Self::Fields(all) => {
                let each = all.iter().enumerate();
                let each = each.map(|(n, one)| format!("{}: {}", n + 1, one.words(unit)));
                each.collect::<Vec<_>>().join("; ")
            }
            Self::Computed(words) => words.clone(),
        }
    }
}

/// Fields that are good stay; those behind one that was raised never end below it.
fn judge_fields(
    all: &[Wanted],
    fields: &[String],
    terms: &Terms,
) -> Result<Option<Vec<String>>, Unreadable> {
    if all.len() != fields.len() {
        return Err(Unreadable);
    }
    let mut new = fields.to_vec();
    let mut is_good = true;
    for (n, wanted) in all.iter().enumerate() {
        if let Some(other) = wanted.judge(&fields[n..=n], None, terms)? {
            new[n] = other.into_iter().next().ok_or(Unreadable)?;
            is_good = false;
        }
    }
    if is_good {
        return Ok(None);
    }
    for n in 1..new.len() {
        if number(&new[n])? < number(&new[n - 1])? {
            new[n] = new[n - 1].clone();
        }
    }
    Ok(Some(new))
}

fn number(text: &str) -> Result<f64, Unreadable> {
    match text {
        "unlimited" | "max" | "infinity" => Ok(f64::INFINITY),
        text => text.parse().map_err(|_| Unreadable),
    }
}

/// A value as people read it.
pub fn show(text: &str, unit: Unit) -> String {
    match (unit, text.parse::<u64>()) {
        (Unit::Bytes, Ok(bytes)) => bytes_text(bytes),
        _ => text.to_owned(),
    }
}

/// `23.5 GiB`.
pub fn bytes_text(bytes: u64) -> String {
    const NAMES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut number, mut name) = (bytes as f64, 0);
    while number >= 1024.0 && name + 1 < NAMES.len() {
        number /= 1024.0;
        name += 1;
    }
    match number {
        number if name == 0 || number.fract() < 0.05 => format!("{number:.0} {}", NAMES[name]),
        number => format!("{number:.1} {}", NAMES[name]),
    }
}

#[cfg(test)]
mod tests;
