//! What is refused: signatures that can't be a workflow's, and code that can't be replayed.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Error, Expr, ExprCall, ExprClosure, ExprMethodCall, ExprPath, FnArg, Item, Lifetime, Macro, Pat, PatIdent, PatType,
    ReturnType, Signature, Token, Type, TypeImplTrait, TypeReference,
};

use crate::args::{Args, check_name};
use crate::lint::{self, Lint, Rule};
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
    if params.iter().any(|param| matches!(param, syn::GenericParam::Lifetime(_))) {
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

/// Checks a body for what can't be replayed.
pub fn body(function: &Function, args: &Args) -> Vec<Error> {
    let ctx = function.ctx_name();
    let mut replay = Replay { allow: &args.allow, ctx: &ctx, in_step: false, errors: Vec::new() };
    // A body that is still being typed doesn't parse: then its tokens tell.
    match function.block() {
        Ok(block) => replay.visit_block(&block),
        Err(_) => replay.scan(function.body.stream()),
    }
    replay.errors
}

/// Looks for code that a replay can't repeat, everywhere but in the bodies of steps and in nested items.
struct Replay<'a> {
    allow: &'a [Lint],
    ctx: &'a str,
    /// Whether a closure that is met now is the body of a step.
    in_step: bool,
    errors: Vec<Error>,
}

/// The operations whose closures run once and are journaled.
const STEPS: [&str; 3] = ["step", "step_with", "transaction"];

fn is_step(method: &Ident) -> bool {
    STEPS.iter().any(|step| method == step)
}

/// Whether a chain of method calls starts with a step: `ctx.step(..).retry(..)`.
fn is_step_chain(call: &ExprMethodCall) -> bool {
    let receiver = match &*call.receiver {
        Expr::Paren(paren) => &paren.expr,
        other => other,
    };
    is_step(&call.method) || matches!(receiver, Expr::MethodCall(inner) if is_step_chain(inner))
}

impl<'ast> Visit<'ast> for Replay<'_> {
    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.visit_expr(&call.receiver);
        let before = self.in_step;
        self.in_step |= is_step_chain(call);
        call.args.iter().for_each(|arg| self.visit_expr(arg));
        self.in_step = before;
    }

    fn visit_expr_closure(&mut self, closure: &'ast ExprClosure) {
        if !self.in_step {
            visit::visit_expr_closure(self, closure);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(function) = &*call.func
            && let Some(ident) = function.path.get_ident()
            && call.args.is_empty()
        {
            self.bare(ident);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        let segments: Vec<&Ident> = path.path.segments.iter().map(|segment| &segment.ident).collect();
        self.path(&segments);
    }

    fn visit_macro(&mut self, mac: &'ast Macro) {
        self.tokens(mac.tokens.clone());
    }

    fn visit_item(&mut self, _: &'ast Item) {}
}

impl Replay<'_> {
    fn refuse(&mut self, rule: &Rule, path: &[&Ident]) {
        if self.allow.contains(&rule.lint) {
            return;
        }
        let names: Vec<String> = path.iter().map(ToString::to_string).collect();
        let tokens = Punctuated::<_, Token![::]>::from_iter(path.iter().copied());
        self.errors.push(Error::new_spanned(tokens, rule.message(&names, self.ctx)));
    }

    fn path(&mut self, path: &[&Ident]) {
        let names: Vec<String> = path.iter().map(ToString::to_string).collect();
        if let Some(rule) = lint::refuses(&names) {
            self.refuse(rule, path);
        }
    }

    fn bare(&mut self, function: &Ident) {
        if let Some(rule) = lint::refuses_bare(&function.to_string()) {
            self.refuse(rule, &[function]);
        }
    }

    /// A macro's input: as expressions if it looks like such, token by token if not.
    fn tokens(&mut self, tokens: TokenStream) {
        let parsed = (|input: ParseStream<'_>| list(input))
            .parse2(tokens.clone())
            .or_else(|_| (|input: ParseStream<'_>| branches(input)).parse2(tokens.clone()));
        match parsed {
            Ok(exprs) => exprs.iter().for_each(|expr| self.visit_expr(expr)),
            Err(_) => self.scan(tokens),
        }
    }

    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            rest = match token {
                TokenTree::Punct(punct) if punct.as_char() == '.' => after_method(after),
                TokenTree::Ident(ident) => self.scan_path(ident, after),
                TokenTree::Group(group) => {
                    self.scan(group.stream());
                    after
                }
                _ => after,
            };
        }
    }

    fn scan_path<'t>(&mut self, first: &'t Ident, mut rest: &'t [TokenTree]) -> &'t [TokenTree] {
        let mut path = vec![first];
        while let [TokenTree::Punct(a), TokenTree::Punct(b), TokenTree::Ident(ident), after @ ..] = rest
            && (a.as_char(), b.as_char()) == (':', ':')
        {
            path.push(ident);
            rest = after;
        }
        match (path.as_slice(), rest.first()) {
            ([function], Some(TokenTree::Group(args))) if is_call(args) && args.stream().is_empty() => {
                self.bare(function);
            }
            _ => self.path(&path),
        }
        rest
    }
}

fn is_call(group: &Group) -> bool {
    group.delimiter() == Delimiter::Parenthesis
}

/// What follows `.`: behind a step, and the methods chained to it, everything up to the next thing that isn't one.
fn after_method(rest: &[TokenTree]) -> &[TokenTree] {
    let [TokenTree::Ident(method), after @ ..] = rest else { return rest };
    if !is_step(method) {
        return after;
    }
    let mut rest = after;
    while let Some(start) = rest.iter().position(|token| matches!(token, TokenTree::Group(group) if is_call(group))) {
        rest = &rest[start + 1..];
        match rest {
            [TokenTree::Punct(dot), TokenTree::Ident(next), after @ ..] if dot.as_char() == '.' && next != "await" => {
                rest = after;
            }
            _ => break,
        }
    }
    rest
}

/// `a, b, name = c`, and the `value; count` of `vec!`.
fn list(input: ParseStream<'_>) -> syn::Result<Vec<Expr>> {
    let mut exprs = Vec::new();
    while !input.is_empty() {
        exprs.push(input.parse()?);
        if input.peek(Token![;]) {
            input.parse::<Token![;]>()?;
        } else if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(exprs)
}

/// The branches of `select!`: `pattern = future, if condition => body`, `else => body`.
fn branches(input: ParseStream<'_>) -> syn::Result<Vec<Expr>> {
    let mut exprs = Vec::new();
    if input.peek(syn::Ident) && input.peek2(Token![;]) {
        input.parse::<Ident>()?;
        input.parse::<Token![;]>()?;
    }
    while !input.is_empty() {
        if input.peek2(Token![=>]) {
            input.parse::<TokenTree>()?;
        } else {
            Pat::parse_multi_with_leading_vert(input)?;
            input.parse::<Token![=]>()?;
            exprs.push(input.parse()?);
            if input.peek(Token![,]) {
                input.parse::<Token![,]>()?;
                input.parse::<Token![if]>()?;
                exprs.push(input.parse()?);
            }
        }
        input.parse::<Token![=>]>()?;
        exprs.push(Expr::parse_with_earlier_boundary_rule(input)?);
        if input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(exprs)
}
