//! Those who act in a case.

/// A case's stage.
#[derive(Debug)]
pub struct Scene;
impl Scene {
    pub(crate) fn new<H>(_h: H) -> Self {
        Self
    }
}
