//! What is wrong with a signature, on its smallest wrong token, and what to write instead.

use proc_macro2::{Ident, Span, TokenStream};
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Error, FnArg, GenericParam, Item, Lifetime, PatIdent, PatType, ReturnType, Signature, Token, Type, TypeImplTrait,
    TypeReference,
};

use crate::args::{Args, check_name};
use crate::model::Function;

/// What is wrong with a signature, and what can be made of it all the same.
#[derive(Debug)]
pub struct Verdict {
    pub errors: Vec<Error>,
    pub use_as: Use,
}

/// What a function expands to. Later ones are for worse signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// The workflow.
    Workflow,
    /// A handle of that name that can't run, and the function behind it as it is.
    Stub,
    /// The handle alone.
    Handle,
    /// The item as it is.
    Item,
}

impl Verdict {
    fn refuse(&mut self, use_as: Use, span: Span, message: impl std::fmt::Display) {
        self.errors.push(Error::new(span, message));
        self.use_as = self.use_as.max(use_as);
    }

    fn refuse_tokens(&mut self, use_as: Use, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.errors.push(Error::new_spanned(tokens, message));
        self.use_as = self.use_as.max(use_as);
    }
}

/// Checks a signature, from left to right.
pub fn signature(function: &Function, args: &Args) -> Verdict {
    let mut verdict = Verdict { errors: Vec::new(), use_as: Use::Workflow };
    let sig = &function.sig;
    qualifiers(sig, &mut verdict);
    if args.name.is_none()
        && let Err(why) = check_name("workflow", &function.default_name())
    {
        verdict.refuse(Use::Workflow, sig.ident.span(), format!("{why}: add #[workflow(name = \"..\")]"));
    }
    generics(sig, &mut verdict);
    params(function, &mut verdict);
    output(sig, &mut verdict);
    own_name(function, &mut verdict);
    verdict
}

fn qualifiers(sig: &Signature, verdict: &mut Verdict) {
    let name = &sig.ident;
    if let Some(token) = &sig.constness {
        verdict.refuse(Use::Workflow, token.span(), "a workflow runs when it is invoked: remove `const`");
    }
    if let Some(token) = &sig.unsafety {
        let message = "an executor calls a workflow, and can't keep a promise for it: remove `unsafe`";
        verdict.refuse(Use::Workflow, token.span(), message);
    }
    if let Some(abi) = &sig.abi {
        let message = format!("a workflow is a Rust function: remove `{}`", abi.to_token_stream());
        verdict.refuse_tokens(Use::Workflow, abi, message);
    }
    if sig.asyncness.is_none() {
        verdict.refuse(Use::Workflow, sig.fn_token.span(), format!("a workflow is async: write `async fn {name}`"));
    }
}

fn generics(sig: &Signature, verdict: &mut Verdict) {
    let params = &sig.generics.params;
    if params.iter().any(|param| matches!(param, GenericParam::Lifetime(_))) {
        let message = "a workflow outlives its caller, so it can't borrow from it: take owned values";
        verdict.refuse_tokens(Use::Stub, params, message);
    } else if !params.is_empty() {
        let message = "a workflow's name in the store stands for one function, so it can't be generic: \
                       write concrete types here, and call a generic `async fn` from the body";
        verdict.refuse_tokens(Use::Stub, params, message);
    }
}

fn params(function: &Function, verdict: &mut Verdict) {
    let sig = &function.sig;
    if let Some(FnArg::Receiver(receiver)) = sig.inputs.first() {
        let message = "a workflow is found by its name after a restart, when there is no `self`: \
                       move it out of the `impl`, and take what it needs as its input";
        return verdict.refuse_tokens(Use::Item, receiver, message);
    }
    if let Some(variadic) = &sig.variadic {
        return verdict.refuse_tokens(Use::Handle, variadic, "a workflow takes `ctx: Ctx` and one input: remove `...`");
    }
    let params = function.params();
    let Some((ctx, inputs)) = params.split_first() else {
        let message = "a workflow talks to the engine through its context: write `(ctx: Ctx)`";
        return verdict.refuse(Use::Stub, sig.paren_token.span.join(), message);
    };
    context(ctx, inputs, verdict);
    if let [_, second @ ..] = inputs
        && !second.is_empty()
    {
        let message = format!("a workflow takes `ctx: Ctx` and one input: {}, or make a struct of them", tuple(inputs));
        return verdict.refuse_tokens(Use::Stub, Punctuated::<_, Token![,]>::from_iter(second), message);
    }
    for input in inputs {
        owned(&input.ty, "a workflow's input is stored", verdict);
    }
}

fn context(ctx: &PatType, inputs: &[&PatType], verdict: &mut Verdict) {
    if let Type::Reference(reference) = &*ctx.ty {
        verdict.refuse_tokens(Use::Stub, reference, "a workflow owns its context: write `ctx: Ctx`");
    } else if !is_ctx(&ctx.ty) && inputs.first().is_some_and(|input| is_ctx(&input.ty)) {
        verdict.refuse_tokens(Use::Stub, ctx, "the context comes first: write `(ctx: Ctx, input: T)`");
    }
}

/// Whether the type looks like the context. It may have another name, so the answer only helps messages.
pub fn is_ctx(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "Ctx"))
}

/// Code as people write it.
fn shown(tokens: impl ToTokens) -> String {
    let text = tokens.to_token_stream().to_string();
    [(" < ", "<"), (" >", ">"), (" :: ", "::"), (" ,", ","), ("& ", "&"), (" ;", ";")]
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
}

/// `take them as a tuple, (a, b): (A, B)`.
fn tuple(inputs: &[&PatType]) -> String {
    let pats: Vec<String> = inputs.iter().map(|input| shown(&input.pat)).collect();
    let types: Vec<String> = inputs.iter().map(|input| shown(&input.ty)).collect();
    format!("take a tuple, `({}): ({})`", pats.join(", "), types.join(", "))
}

fn output(sig: &Signature, verdict: &mut Verdict) {
    let ReturnType::Type(_, ty) = &sig.output else {
        let message = "a workflow tells how it ended: write `-> Result<()>` behind the parameters";
        return verdict.refuse(Use::Handle, sig.paren_token.span.close(), message);
    };
    let is_path = match &**ty {
        Type::Path(_) | Type::Macro(_) => true,
        Type::Group(group) => matches!(&*group.elem, Type::Path(_)),
        _ => false,
    };
    if is_path {
        owned(ty, "a workflow's output is stored", verdict);
    } else {
        verdict.refuse_tokens(Use::Stub, ty, "a workflow returns a `Result`: write `Result<T>` or `Result<T, E>`");
    }
}

/// Whether the type can stand in an `impl` of its own: no references, no `impl Trait`.
pub fn is_owned(ty: &Type) -> bool {
    let mut borrows = Borrows::default();
    borrows.visit_type(ty);
    borrows.found.is_empty()
}

fn owned(ty: &Type, because: &str, verdict: &mut Verdict) {
    let mut borrows = Borrows::default();
    borrows.visit_type(ty);
    for (tokens, instead) in borrows.found {
        verdict.refuse_tokens(Use::Stub, tokens, format!("{because}: {instead}"));
    }
}

#[derive(Default)]
struct Borrows {
    found: Vec<(TokenStream, String)>,
}

impl<'ast> Visit<'ast> for Borrows {
    fn visit_type_reference(&mut self, ty: &'ast TypeReference) {
        let owned = match ty.elem.to_token_stream().to_string().as_str() {
            "str" => "String".to_owned(),
            "Path" => "PathBuf".to_owned(),
            _ => match &*ty.elem {
                Type::Slice(slice) => format!("Vec<{}>", shown(&slice.elem)),
                other => shown(other),
            },
        };
        self.found.push((ty.to_token_stream(), format!("it can't borrow, write `{owned}`")));
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        self.found.push((ty.to_token_stream(), "it needs one concrete type in place of `impl Trait`".to_owned()));
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident == "_" {
            self.found.push((lifetime.to_token_stream(), "it can't borrow, write an owned type".to_owned()));
        }
    }
}

/// Bindings of a name. The handle is a unit struct, and a binding can't shadow one.
struct Bindings<'a> {
    name: &'a Ident,
    found: Vec<Ident>,
}

impl<'ast> Visit<'ast> for Bindings<'_> {
    fn visit_pat_ident(&mut self, pat: &'ast PatIdent) {
        if pat.ident == *self.name {
            self.found.push(pat.ident.clone());
        }
        visit::visit_pat_ident(self, pat);
    }

    fn visit_item(&mut self, _: &'ast Item) {}
}

fn own_name(function: &Function, verdict: &mut Verdict) {
    let mut bindings = Bindings { name: &function.sig.ident, found: Vec::new() };
    function.params().iter().for_each(|param| bindings.visit_pat(&param.pat));
    if let Ok(block) = function.block() {
        bindings.visit_block(&block);
    }
    for name in bindings.found {
        let message = format!("`{name}` is the workflow itself in here: give this binding another name");
        verdict.refuse(Use::Handle, name.span(), message);
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;
    use quote::quote;

    use super::*;

    #[test]
    fn the_worst_mistake_decides_what_is_emitted() {
        let use_as = |function: TokenStream| {
            let (args, _) = Args::parse(TokenStream::new());
            signature(&syn::parse2(function).expect("a function"), &args).use_as
        };
        assert_eq!(
            use_as(quote!(
                async fn a(ctx: Ctx, n: u32) -> Result<u32> {}
            )),
            Use::Workflow
        );
        assert_eq!(
            use_as(quote!(
                fn a(ctx: Ctx, n: u32) -> Result<u32> {}
            )),
            Use::Workflow
        );
        assert_eq!(
            use_as(quote!(
                async fn a<T>(ctx: Ctx, n: T) -> Result<u32> {}
            )),
            Use::Stub
        );
        assert_eq!(
            use_as(quote!(
                async fn a<T>(ctx: Ctx, n: T) {}
            )),
            Use::Handle
        );
        assert_eq!(
            use_as(quote!(
                async fn a(self, ctx: &Ctx) {}
            )),
            Use::Item
        );
    }
}
