//! What a workflow expands to: a handle of the function's name, and the function behind it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Type, parse_quote};

use crate::model::Model;

/// The handle, with the function's body as what a run executes.
pub fn workflow(model: &Model) -> TokenStream {
    let function = body(model);
    let (krate, inner) = (&model.args.krate, &model.inner);
    let ctx =
        model.ctx.iter().map(|ty| quote_spanned!(ty.span()=> <#ty as #krate::__private::FromCtx>::from_ctx(__ctx)));
    let input = model.input.iter().map(|_| quote!(__input));
    let returns = &model.returns;
    let outcome = quote_spanned!(returns.span()=> <#returns as #krate::__private::IntoOutcome>::into_outcome);
    let params = ctx.chain(input);
    handle(model, &function, &quote!(#outcome(#inner(#(#params),*).await)))
}

/// The function itself, under a name that leaves its own to the handle.
fn body(model: &Model) -> TokenStream {
    let (function, inner) = (&model.function, &model.inner);
    let attrs = function.attrs.iter().filter(|attr| !is_of_handle(attr));
    let mut sig = function.sig.clone();
    sig.ident = inner.clone();
    let body = &function.body;
    quote!(#(#attrs)* #sig #body)
}

/// The unit struct, its `Workflow` implementation with `outcome` as the expression that runs it, and what makes it
/// callable. `items` are what that expression needs.
pub fn handle(model: &Model, items: &TokenStream, outcome: &TokenStream) -> TokenStream {
    let (vis, ident, krate) = (&model.function.vis, &model.function.sig.ident, &model.args.krate);
    let attrs = model.function.attrs.iter().filter(|attr| is_of_handle(attr) || is_of_both(attr));
    let cfgs: Vec<&Attribute> = model.function.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect();
    let unit: Type = parse_quote!(());
    let input = model.input.as_ref().unwrap_or(&unit);
    let output = output(model);
    let consts = consts(model);
    let callable = callable(model, input, &output);
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
            impl #krate::__private::Workflow for #ident {
                type Input = #input;
                type Output = #output;
                #consts

                fn call(
                    self,
                    __ctx: #krate::__private::Ctx,
                    __input: #input,
                ) -> #krate::__private::WorkflowFuture<#output> {
                    ::std::boxed::Box::pin(async move { #outcome })
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
        Some(ty) => quote_spanned!(ty.span()=> <#ty as #krate::__private::IntoOutcome>::Output),
        None => quote!(()),
    }
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
    let call = quote!(<#ident as #krate::__private::Workflow>::call);
    let (target, closure) = match &model.input {
        Some(_) => (quote!(fn(#krate::__private::Ctx, #input)), quote!(|__ctx, __input| #call(#ident, __ctx, __input))),
        None => (quote!(fn(#krate::__private::Ctx)), quote!(|__ctx| #call(#ident, __ctx, ()))),
    };
    quote! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl ::core::ops::Deref for #ident {
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
