//! The options of `#[workflow(..)]`.

use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Lit, LitInt, LitStr, Meta, MetaList, Path, Token, parse_quote};

use crate::lint::Lint;

const OPTIONS: &str = "`name = \"..\"`, `version = 1`, `queue = \"..\"`, `allow(..)`, `crate = \"..\"`";

/// The options, each at its default unless given.
#[derive(Debug)]
pub struct Args {
    pub name: Option<LitStr>,
    pub version: Option<LitInt>,
    pub queue: Option<LitStr>,
    pub allow: Vec<Lint>,
    /// Where the crate `workflow` is.
    pub krate: Path,
}

impl Args {
    /// Reads the options. One that is wrong is left at its default, and the others still count.
    pub fn parse(tokens: TokenStream) -> (Self, Vec<Error>) {
        let mut args =
            Self { name: None, version: None, queue: None, allow: Vec::new(), krate: parse_quote!(::workflow) };
        let metas = match Punctuated::<Meta, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(metas) => metas,
            Err(error) => return (args, vec![Error::new(error.span(), format!("{error}; the options are {OPTIONS}"))]),
        };
        let mut errors = Vec::new();
        let mut seen = Vec::new();
        for meta in &metas {
            let option = meta.path().get_ident().map(ToString::to_string).unwrap_or_default();
            if seen.contains(&option) {
                errors.push(Error::new(meta.path().span(), format!("`{option}` is given twice: keep one")));
                continue;
            }
            if let Err(error) = args.set(&option, meta, &mut errors) {
                errors.push(error);
            }
            seen.push(option);
        }
        (args, errors)
    }

    fn set(&mut self, option: &str, meta: &Meta, errors: &mut Vec<Error>) -> Result<(), Error> {
        match option {
            "name" => self.name = Some(name(meta, "workflow")?),
            "queue" => self.queue = Some(name(meta, "queue")?),
            "version" => self.version = Some(version(meta)?),
            "crate" => self.krate = krate(meta)?,
            "allow" => self.allow = lints(meta, errors)?,
            _ => {
                let shown = meta.path().segments.iter().map(|s| s.ident.to_string()).collect::<Vec<_>>().join("::");
                let message = format!("`{shown}` is no option of #[workflow]: the options are {OPTIONS}");
                return Err(Error::new(meta.path().span(), message));
            }
        }
        Ok(())
    }
}

fn value(meta: &Meta) -> Option<&Lit> {
    match meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit, .. }) => Some(lit),
            _ => None,
        },
        _ => None,
    }
}

/// The span of what stands where a value should: the value, or the whole option if it has none.
fn wrong(meta: &Meta, message: impl std::fmt::Display) -> Error {
    match meta {
        Meta::NameValue(pair) => Error::new_spanned(&pair.value, message),
        _ => Error::new_spanned(meta, message),
    }
}

fn text(meta: &Meta) -> Result<LitStr, Error> {
    let option = meta.path().get_ident().map(ToString::to_string).unwrap_or_default();
    match value(meta) {
        Some(Lit::Str(text)) => Ok(text.clone()),
        _ => Err(wrong(meta, format!("`{option}` is a string literal: write `{option} = \"..\"`"))),
    }
}

fn name(meta: &Meta, what: &str) -> Result<LitStr, Error> {
    let text = text(meta)?;
    check_name(what, &text.value()).map_err(|why| Error::new(text.span(), why))?;
    Ok(text)
}

fn krate(meta: &Meta) -> Result<Path, Error> {
    let text = text(meta)?;
    text.parse().map_err(|_| Error::new(text.span(), "`crate` is a path: write `crate = \"my::workflow\"`"))
}

/// The rule for names in the store, as `workflow_core::ids::check_name` has it.
pub fn check_name(what: &str, name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:/-".contains(c);
    let why = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > 200 {
        format!("has {} bytes", name.len())
    } else if let Some(c) = name.chars().find(|c| !allowed(*c)) {
        format!("holds {c:?}")
    } else {
        return Ok(());
    };
    Err(format!("the name of a {what} has 1 to 200 characters of A-Z a-z 0-9 _ . : / -, and this one {why}"))
}

fn version(meta: &Meta) -> Result<LitInt, Error> {
    if let Some(Lit::Int(literal)) = value(meta)
        && literal.suffix().is_empty()
        && literal.base10_parse::<i32>().is_ok_and(|version| version >= 1)
    {
        return Ok(literal.clone());
    }
    Err(wrong(meta, format!("`version` is a whole number from 1 to {}: write `version = 2`", i32::MAX)))
}

fn lints(meta: &Meta, errors: &mut Vec<Error>) -> Result<Vec<Lint>, Error> {
    let Meta::List(MetaList { tokens, .. }) = meta else {
        return Err(wrong(meta, format!("write `allow(..)`, with one or more of {}", Lint::known())));
    };
    let paths = Punctuated::<Path, Token![,]>::parse_terminated.parse2(tokens.clone())?;
    if paths.is_empty() {
        return Err(Error::new_spanned(
            meta,
            format!("nothing is allowed here: name one or more of {}", Lint::known()),
        ));
    }
    let mut lints = Vec::new();
    for path in &paths {
        match path.get_ident().and_then(|ident| Lint::from_name(&ident.to_string())) {
            Some(lint) => lints.push(lint),
            None => errors.push(Error::new_spanned(path, format!("no such lint: the lints are {}", Lint::known()))),
        }
    }
    Ok(lints)
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn errors(tokens: TokenStream) -> Vec<String> {
        Args::parse(tokens).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_option_is_read() {
        let (args, errors) = Args::parse(quote! {
            name = "shop/order.v2", version = 2, queue = "fast", allow(time, random), crate = "my::workflow",
        });
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(args.name.map(|n| n.value()).as_deref(), Some("shop/order.v2"));
        assert_eq!(args.version.map(|v| v.to_string()).as_deref(), Some("2"));
        assert_eq!(args.queue.map(|q| q.value()).as_deref(), Some("fast"));
        assert_eq!(args.allow, [Lint::Time, Lint::Random]);
        assert_eq!(args.krate, parse_quote!(my::workflow));
    }

    #[test]
    fn no_options_are_fine() {
        let (args, errors) = Args::parse(quote!());
        assert!(errors.is_empty() && args.name.is_none() && args.allow.is_empty());
        assert_eq!(args.krate, parse_quote!(::workflow));
    }

    #[test]
    fn one_wrong_option_leaves_the_others() {
        let (args, errors) = Args::parse(quote!(version = "two", name = "ok", retries = 3, allow(tiem, net)));
        assert_eq!(errors.len(), 3);
        assert_eq!(args.name.map(|n| n.value()).as_deref(), Some("ok"));
        assert_eq!(args.allow, [Lint::Net]);
    }

    #[test]
    fn names_keep_the_rule_of_the_store() {
        for good in ["a", "A-b_c.d:e/f9", &"x".repeat(200)] {
            assert_eq!(check_name("workflow", good), Ok(()));
        }
        for bad in ["", "a b", "größe", "a\n", &"x".repeat(201)] {
            assert!(check_name("workflow", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn versions_are_positive_and_fit() {
        for bad in [quote!(version = 0), quote!(version = 2147483648), quote!(version = 2u8), quote!(version)] {
            assert_eq!(errors(bad), ["`version` is a whole number from 1 to 2147483647: write `version = 2`"]);
        }
        assert!(errors(quote!(version = 2147483647)).is_empty());
    }

    #[test]
    fn a_repeated_option_is_refused() {
        assert_eq!(errors(quote!(name = "a", name = "b")), ["`name` is given twice: keep one"]);
    }

    #[test]
    fn an_unknown_lint_lists_the_known_ones() {
        let all = "time, sleep, random, uuid, spawn, thread, env, fs, net, process, pending";
        assert_eq!(errors(quote!(allow(rand))), [format!("no such lint: the lints are {all}")]);
    }
}
