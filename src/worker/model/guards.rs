//! What keeps the protocol safe, each to be left out: the model has to notice.

/// Which guards stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guards {
    /// A record is refused whose lease is not the round's any more.
    pub(super) fence: bool,
    /// A claim writes down that its round is about to be registered.
    pub(super) intent: bool,
    /// A request is taken for under way until the upstream's time window is over.
    pub(super) window: bool,
    /// An import is sent again as the very same request.
    pub(super) same_request: bool,
}

impl Guards {
    pub(super) const ALL: Self = Self {
        fence: true,
        intent: true,
        window: true,
        same_request: true,
    };
}
