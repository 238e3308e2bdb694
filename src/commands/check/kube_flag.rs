//! A flag in the command line of a Kubernetes program.

/// The value of a flag of kube-apiserver, unless it is empty; the last one counts.
pub(crate) fn flag_value<'a>(arguments: &[&'a str], flag: &str) -> Option<&'a str> {
    let mut values = arguments.iter().enumerate().filter_map(|(at, argument)| {
        let name = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'))?;
        match name.strip_prefix(flag)? {
            "" => arguments.get(at + 1).copied(),
            value => value.strip_prefix('='),
        }
    });
    values.next_back().filter(|value| !value.is_empty())
}
