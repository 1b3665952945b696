//! "Did you mean": the known name that a wrong one is most like.

/// The nearest of the names, where one is near enough to be meant.
pub(crate) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let limit = (wrong.chars().count() / 3).max(1);
    names
        .into_iter()
        .filter(|name| name.len().abs_diff(wrong.len()) <= limit)
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// A help line for a word that is none of the choices.
pub(crate) fn one_of(wrong: &str, choices: &[&str]) -> String {
    match nearest(wrong, choices.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of {}", quoted(choices.iter().copied())),
    }
}

/// A help line for a reference to something that does not exist: the nearest name, or those that there are.
pub(crate) fn known<'a>(wrong: &str, what: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    /// How many names a help line lists.
    const LISTED: usize = 8;
    if let Some(near) = nearest(wrong, names.clone()) {
        return format!("did you mean `{near}`?");
    }
    let mut some: Vec<&str> = names.collect();
    some.sort_unstable();
    match some.len() {
        0 => format!("there is no {what} yet: define one"),
        1..=LISTED => format!("define it, or use one of {}", quoted(some.into_iter())),
        many => format!("define it, or use one of the {many} that there are"),
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        assert_eq!(nearest("adress", ["address", "mac"]), Some("address"));
        assert_eq!(nearest("Deny", ["allow", "deny"]), Some("deny"));
        assert_eq!(nearest("nmae", ["name", "mac"]), Some("name"));
        assert_eq!(nearest("colour", ["name", "mac"]), None);
    }
}
