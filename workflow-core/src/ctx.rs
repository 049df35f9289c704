//! The context that a workflow's code talks to.

/// What a workflow's code talks to.
#[derive(Clone, Debug)]
pub struct Ctx(std::rc::Rc<()>);
