//! What a workflow expands to: a handle of the function's name, and the function behind it.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Type, parse_quote};

use crate::model::Model;

/// The handle, with the function's body as what a run executes.
pub fn workflow(model: &Model) -> TokenStream {
    let function = function(model);
    let (krate, inner) = (&model.args.krate, &model.inner);
    let ctx =
        model.ctx.iter().map(|ty| quote_spanned!(ty.span()=> <#ty as #krate::__private::FromCtx>::from_ctx(__ctx)));
    let input = model.input.iter().map(|_| quote!(__input));
    let params = ctx.chain(input);
    handle(model, &function, &quote!(#krate::__private::run(#inner(#(#params),*))))
}

/// The function itself, under a name that leaves its own to the handle.
pub fn function(model: &Model) -> TokenStream {
    let (function, inner) = (&model.function, &model.inner);
    let attrs = function.attrs.iter().filter(|attr| !is_of_handle(attr));
    let mut sig = function.sig.clone();
    sig.ident = inner.clone();
    let body = &function.body;
    // What these lints ask for can't be had: a workflow is async and stays on its thread.
    quote!(#[allow(clippy::unused_async, clippy::future_not_send)] #(#attrs)* #sig #body)
}

/// The unit struct, its `Workflow` implementation with `run` as the expression that gives its future, and what makes
/// it callable. `items` are what that expression needs.
pub fn handle(model: &Model, items: &TokenStream, run: &TokenStream) -> TokenStream {
    let (vis, ident, krate) = (&model.function.vis, &model.function.sig.ident, &model.args.krate);
    let attrs = model.function.attrs.iter().filter(|attr| is_of_handle(attr) || is_of_both(attr));
    let cfgs: Vec<&Attribute> = model.function.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect();
    let unit: Type = parse_quote!(());
    let input = model.input.as_ref().unwrap_or(&unit);
    let output = output(model);
    let consts = consts(model);
    let callable = callable(model, input, &output);
    let where_clause = where_clause(model);
    quote! {
        #(#attrs)*
        #[allow(non_camel_case_types)]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #vis struct #ident;

        #(#cfgs)*
        const _: () = {
            #items

            #[automatically_derived]
            #[allow(deprecated)]
            impl #krate::__private::Workflow for #ident #where_clause {
                type Input = #input;
                type Output = #output;
                #consts

                fn call(
                    self,
                    __ctx: #krate::__private::Ctx,
                    __input: #input,
                ) -> #krate::__private::WorkflowFuture<#output> {
                    #run
                }
            }

            #callable
        };
    }
}

/// The type behind `Result<..>`, which may be any alias.
fn output(model: &Model) -> TokenStream {
    let krate = &model.args.krate;
    match &model.returns {
        Some(ty) => quote!(<#ty as #krate::__private::IntoOutcome>::Output),
        None => quote!(()),
    }
}

/// Says once, on the type in the signature, what is wrong with it: behind this bound the compiler takes it for right.
fn where_clause(model: &Model) -> Option<TokenStream> {
    let (ty, krate) = (model.returns.as_ref()?, &model.args.krate);
    let bound = shown_at(quote!(#krate::__private::IntoOutcome), ty);
    Some(quote!(where #ty: #bound))
}

/// The same code, for which errors are shown at `place`, from its first to its last token.
fn shown_at(code: TokenStream, place: &impl ToTokens) -> TokenStream {
    let spans: Vec<Span> = place.to_token_stream().into_iter().map(|token| token.span()).collect();
    let [first, .., last] = spans[..] else { return respan(code, place.span(), place.span()) };
    respan(code, first, last)
}

fn respan(code: TokenStream, first: Span, last: Span) -> TokenStream {
    let mut tokens: Vec<TokenTree> = code.into_iter().collect();
    tokens.iter_mut().for_each(|token| token.set_span(first));
    if let Some(token) = tokens.last_mut() {
        token.set_span(last);
    }
    tokens.into_iter().collect()
}

fn consts(model: &Model) -> TokenStream {
    let name = &model.name;
    let version = model.args.version.iter();
    let queue = model.args.queue.iter();
    quote! {
        const NAME: &'static str = #name;
        #(const VERSION: i32 = #version;)*
        #(const QUEUE: &'static str = #queue;)*
        const PLACE: &'static str = ::core::concat!(::core::file!(), ":", ::core::line!());
    }
}

/// Calls look through `Deref`: that is how a value of a unit struct is called like the function it stands for.
fn callable(model: &Model, input: &Type, output: &TokenStream) -> TokenStream {
    let (ident, krate) = (&model.function.sig.ident, &model.args.krate);
    let where_clause = where_clause(model);
    let call = quote!(<#ident as #krate::__private::Workflow>::call);
    let (target, closure) = match &model.input {
        Some(_) => (quote!(fn(#krate::__private::Ctx, #input)), quote!(|__ctx, __input| #call(#ident, __ctx, __input))),
        None => (quote!(fn(#krate::__private::Ctx)), quote!(|__ctx| #call(#ident, __ctx, ()))),
    };
    quote! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl ::core::ops::Deref for #ident #where_clause {
            type Target = #target -> #krate::__private::WorkflowFuture<#output>;

            fn deref(&self) -> &Self::Target {
                const { &((#closure) as Self::Target) }
            }
        }
    }
}

/// Attributes that say something about the name people see.
fn is_of_handle(attr: &Attribute) -> bool {
    ["doc", "deprecated"].iter().any(|name| attr.path().is_ident(name))
}

fn is_of_both(attr: &Attribute) -> bool {
    ["cfg", "allow"].iter().any(|name| attr.path().is_ident(name))
}
