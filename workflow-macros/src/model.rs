//! What the attribute knows of the function it stands on.

use proc_macro2::{Delimiter, Group, Ident, TokenTree};
use quote::format_ident;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Block, Error, FnArg, Pat, PatType, ReturnType, Signature, Type, Visibility};

use crate::args::Args;

/// A function whose body is left unparsed, so that one that is still being typed expands too.
#[derive(Debug, Clone)]
pub struct Function {
    pub attrs: Vec<Attribute>,
    pub vis: Visibility,
    pub sig: Signature,
    pub body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let (attrs, vis, sig) = (input.call(Attribute::parse_outer)?, input.parse()?, input.parse()?);
        let body: Group = input.parse()?;
        if body.delimiter() != Delimiter::Brace {
            return Err(Error::new(body.span(), "expected a function's body"));
        }
        Ok(Self { attrs, vis, sig, body })
    }
}

/// The error for what isn't a function with a body.
pub fn not_a_function(error: &Error) -> Error {
    let message = "#[workflow] makes a workflow of a function: \
                   write `async fn name(ctx: Ctx, input: T) -> Result<O> { .. }`";
    Error::new(error.span(), message)
}

impl Function {
    /// The parameters, unless the first one is `self`.
    pub fn params(&self) -> Vec<&PatType> {
        let typed = self.sig.inputs.iter().filter_map(|arg| match arg {
            FnArg::Typed(param) => Some(param),
            FnArg::Receiver(_) => None,
        });
        typed.collect()
    }

    /// What the context is called in the body, for messages.
    pub fn ctx_name(&self) -> String {
        match self.params().first().map(|param| &*param.pat) {
            Some(Pat::Ident(pat)) => pat.ident.to_string().trim_start_matches('_').to_owned(),
            _ => "ctx".to_owned(),
        }
    }

    /// The body, if it is complete.
    pub fn block(&self) -> syn::Result<Block> {
        syn::parse2(TokenTree::Group(self.body.clone()).into())
    }

    /// The name in the store when the options give none.
    pub fn default_name(&self) -> String {
        self.sig.ident.unraw().to_string()
    }
}

/// A workflow, ready to be expanded.
#[derive(Debug)]
pub struct Model {
    pub args: Args,
    pub function: Function,
    /// What the function is called inside the expansion, where its own name is the handle's.
    pub inner: Ident,
    pub name: String,
    pub ctx: Option<Type>,
    pub input: Option<Type>,
    pub returns: Option<Type>,
}

impl Model {
    /// Takes a function whose signature was checked, and whatever is wrong with it reported.
    pub fn new(function: Function, args: Args) -> Self {
        let mut types = function.params().into_iter().map(|param| (*param.ty).clone());
        let (ctx, input) = (types.next(), types.next());
        let returns = match &function.sig.output {
            ReturnType::Type(_, ty) => Some((**ty).clone()),
            ReturnType::Default => None,
        };
        let name = args.name.as_ref().map_or_else(|| function.default_name(), syn::LitStr::value);
        let inner = format_ident!("__workflow_{}", function.sig.ident.unraw(), span = function.sig.ident.span());
        Self { args, function, inner, name, ctx, input, returns }
    }
}
