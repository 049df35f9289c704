//! What a body may not do because a replay can't repeat it.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Error, Expr, ExprCall, ExprClosure, ExprMethodCall, ExprPath, Item, Macro, Pat, Token};

use crate::args::Args;
use crate::lint::{self, Lint, Rule};
use crate::model::Function;

/// Checks a body for what can't be replayed.
pub fn check(function: &Function, args: &Args) -> Vec<Error> {
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
        self.arguments(&call.args, is_step_chain(call));
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
        self.visit_expr(&call.func);
        let step = matches!(&*call.func, Expr::Path(f) if f.path.segments.last().is_some_and(|s| is_step(&s.ident)));
        self.arguments(&call.args, step);
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
    fn arguments(&mut self, args: &Punctuated<Expr, Token![,]>, of_step: bool) {
        let before = self.in_step;
        self.in_step |= of_step;
        args.iter().for_each(|arg| self.visit_expr(arg));
        self.in_step = before;
    }

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

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn refused(body: TokenStream) -> Vec<String> {
        let function = syn::parse2(quote!(async fn order(ctx: Ctx) -> Result<()> { #body })).expect("a function");
        let (args, _) = Args::parse(TokenStream::new());
        let first = |error: Error| error.to_string().split('`').nth(1).map(str::to_owned).unwrap_or_default();
        self::check(&function, &args).into_iter().map(first).collect()
    }

    #[test]
    fn step_bodies_are_free() {
        let free = [
            quote!(ctx.step("a", || async { Utc::now() }).await?),
            quote!(ctx.step("a", async move || Utc::now()).retry(Policy::when(|_| rand::random())).await?),
            quote!(
                ctx.step("a", {
                    let c = c.clone();
                    move || async move { fs::read(c) }
                })
                .await?
            ),
            quote!((ctx.step_with("a", async |_| task::spawn_blocking(|| Utc::now()))).timeout(d).await?),
            quote!(ctx.transaction("a", async |tx| sql(tx, Uuid::new_v4())).await?),
            quote!(store::transaction(&ctx, "a", async |tx| Utc::now()).await?),
            quote!(tokio::join!(ctx.step("a", || async { Utc::now() }), b)),
            quote!(tokio::select! { x = ctx.step("a", || async { Utc::now() }) => x?, _ = ctx.sleep(d) => {} }),
            quote!(other! { a -> ctx.step::<_, _>("a", || Utc::now()).retry(|_| rand::random()).await }),
        ];
        for body in free {
            assert_eq!(refused(body.clone()), [""; 0], "{body}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        let refusable = [
            quote!(ctx.step(&format!("{}", Utc::now()), || async { Ok(()) }).await?),
            quote!(
                ctx.step("a", {
                    let t = Utc::now();
                    move || async move { t }
                })
                .await?
            ),
            quote!(ctx.step("a", || async { Ok(1) }).await.map(|_| Utc::now())),
            quote!(async { Utc::now() }.await),
            quote!(items.iter().map(|_| chrono::Utc::now())),
            quote!(let now = Utc::now;),
            quote!(println!("{} {now}", 1, now = Utc::now())),
            quote!(vec![Utc::now(); 3]),
            quote!(tokio::select! { biased; _ = ctx.sleep(d), if Utc::now() > x => {} else => {} }),
            quote!(tokio::select! { _ = a => Utc::now(), }),
            quote!(other! { a -> b.await, Utc::now() }),
            quote!(other! { ctx.step("a", || Utc::now()).await.map(|_| Utc::now()) ; -> }),
            quote!(let unfinished = Utc::now(); let x =),
        ];
        for body in refusable {
            assert_eq!(refused(body.clone()), ["Utc::now"], "{body}");
        }
    }

    #[test]
    fn nested_items_methods_and_own_modules_are_free() {
        assert_eq!(
            refused(quote!(
                fn helper() -> Time {
                    Utc::now()
                }
            )),
            [""; 0]
        );
        assert_eq!(refused(quote!(ctx.random(); clock.now(); crate::env::load(); Self::fs::read();)), [""; 0]);
        assert_eq!(refused(quote!(random(seed); let random = 1; foo! { -> random(seed) x.random() })), [""; 0]);
        assert_eq!(refused(quote!(random(); foo! { -> thread_rng() })), ["random", "thread_rng"]);
    }

    #[test]
    fn the_context_is_called_what_the_signature_calls_it() {
        let function = syn::parse_quote!(
            async fn order(mut c: Ctx) -> Result<()> {
                Utc::now()
            }
        );
        let (args, _) = Args::parse(TokenStream::new());
        assert!(check(&function, &args)[0].to_string().contains("use `c.now()`"));
    }

    #[test]
    fn allowed_lints_are_silent() {
        let function = syn::parse_quote!(
            async fn order(_: Ctx) -> Result<()> {
                Utc::now();
                rand::random();
            }
        );
        let (args, _) = Args::parse(quote!(allow(time)));
        let errors = check(&function, &args);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().contains("allow(random)"));
    }
}
