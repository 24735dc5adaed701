//! A small typed state graph: nodes that update a state, and edges that say which node is next.
//!
//! It follows the vocabulary of LangGraph's `StateGraph` (nodes, edges, conditional edges, `START`,
//! `END`, compile, a step limit, checkpoints, a stream of events) and knows nothing of messages,
//! models or tools. One node runs at a time. A run is cancelled by dropping its future.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

/// Where every run begins. Not a node: edges leave it, none arrive.
pub const START: &str = "__start__";
/// Where every run ends. Not a node: edges arrive, none leave.
pub const END: &str = "__end__";

/// What the nodes work on.
pub trait State: Clone + Send + Sync + 'static {
    /// What a node returns: the change, not the whole.
    type Update: Send + 'static;
    /// What a node may tell while it works, to whoever watches the run.
    type Progress: Send + 'static;

    /// Makes the change.
    fn apply(&mut self, update: Self::Update);
}

/// What a watched run tells, in the order in which it happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<P> {
    /// A node begins its work.
    NodeStarted(&'static str),
    /// A node tells of its work.
    Progress(P),
    /// A node is done, and the state has its update.
    NodeEnded(&'static str),
}

/// The end into which a run's events go. A run waits when its watcher is behind, and goes on unwatched when it has left.
#[derive(Debug)]
pub struct Events<P> {
    sender: Option<mpsc::Sender<Event<P>>>,
}

impl<P> Events<P> {
    /// For a run that nobody watches.
    pub fn unwatched() -> Events<P> {
        Events { sender: None }
    }

    /// Events that wait for their watcher at the other end of `sender`.
    pub fn to(sender: mpsc::Sender<Event<P>>) -> Events<P> {
        Events { sender: Some(sender) }
    }

    /// Whether somebody watches: a node may save itself the work of telling.
    pub fn is_watched(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| !sender.is_closed())
    }

    /// Tells of a node's work.
    pub async fn progress(&self, progress: P) {
        self.send(Event::Progress(progress)).await;
    }

    async fn send(&self, event: Event<P>) {
        if let Some(sender) = &self.sender {
            // A watcher that has left is nobody's loss: the run is cancelled by dropping it, not by this.
            let _ = sender.send(event).await;
        }
    }
}

impl<P> Clone for Events<P> {
    fn clone(&self) -> Events<P> {
        Events { sender: self.sender.clone() }
    }
}

/// A run between two nodes: all that is needed to go on from here.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint<S> {
    /// The state after the last node.
    pub state: Arc<S>,
    /// The node that comes next, or [`END`].
    pub next: &'static str,
    /// How many nodes have run.
    pub step: usize,
}

type NodeFuture<S, E> = Pin<Box<dyn Future<Output = Result<<S as State>::Update, E>> + Send>>;
type Node<S, E> = Box<dyn Fn(Arc<S>, Events<<S as State>::Progress>) -> NodeFuture<S, E> + Send + Sync>;

/// How a run goes on after a node.
enum Way<S> {
    Edge(&'static str),
    Conditional { choose: fn(&S) -> &'static str, targets: Vec<&'static str> },
}

impl<S> Way<S> {
    fn targets(&self) -> &[&'static str] {
        match self {
            Way::Edge(target) => std::slice::from_ref(target),
            Way::Conditional { targets, .. } => targets,
        }
    }
}

/// A graph that is being drawn. Mistakes in it are found by [`compile`](GraphBuilder::compile).
pub struct GraphBuilder<S: State, E> {
    nodes: Vec<(&'static str, Node<S, E>)>,
    ways: Vec<(&'static str, Way<S>)>,
}

/// A drawing mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrawingError {
    /// Two nodes share a name.
    #[error("two nodes are called `{0}`")]
    DuplicateNode(&'static str),
    /// An edge leaves or reaches a name that no node has.
    #[error("an edge names the unknown node `{0}`")]
    UnknownNode(&'static str),
    /// A node has more than one edge, conditional or not. One node runs at a time here.
    #[error("more than one way leaves `{0}`")]
    AmbiguousWay(&'static str),
    /// A run would stop here without having reached the end.
    #[error("no way leaves `{0}`")]
    DeadEnd(&'static str),
    /// No run can come here.
    #[error("no way leads to `{0}`")]
    Unreachable(&'static str),
    /// From here every way leads in circles.
    #[error("no way leads from `{0}` to the end")]
    Endless(&'static str),
}

impl<S: State, E> GraphBuilder<S, E> {
    /// An empty drawing.
    pub fn new() -> GraphBuilder<S, E> {
        GraphBuilder { nodes: Vec::new(), ways: Vec::new() }
    }

    /// Adds a node: an async function from the state to its update, which may tell of its work meanwhile.
    pub fn add_node<N, F>(&mut self, name: &'static str, node: N)
    where
        N: Fn(Arc<S>, Events<S::Progress>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<S::Update, E>> + Send + 'static,
    {
        self.nodes.push((name, Box::new(move |state, events| Box::pin(node(state, events)))));
    }

    /// Adds an edge: after `from` always comes `to`.
    pub fn add_edge(&mut self, from: &'static str, to: &'static str) {
        self.ways.push((from, Way::Edge(to)));
    }

    /// Adds a conditional edge: after `from` comes the one of `targets` that `choose` names.
    pub fn add_conditional_edges(&mut self, from: &'static str, choose: fn(&S) -> &'static str, targets: &[&'static str]) {
        self.ways.push((from, Way::Conditional { choose, targets: targets.to_vec() }));
    }

    /// Checks the drawing and makes a graph that runs.
    pub fn compile(self) -> Result<Graph<S, E>, DrawingError> {
        let mut nodes = BTreeMap::new();
        for (name, node) in self.nodes {
            if name == START || name == END || nodes.insert(name, node).is_some() {
                return Err(DrawingError::DuplicateNode(name));
            }
        }
        let mut ways: BTreeMap<&'static str, Way<S>> = BTreeMap::new();
        for (from, way) in self.ways {
            let is_known = |name: &&'static str| nodes.contains_key(name);
            if let Some(unknown) = way.targets().iter().find(|to| **to != END && !is_known(to)) {
                return Err(DrawingError::UnknownNode(unknown));
            }
            if from != START && !is_known(&from) {
                return Err(DrawingError::UnknownNode(from));
            }
            if ways.insert(from, way).is_some() {
                return Err(DrawingError::AmbiguousWay(from));
            }
        }
        let names = || std::iter::once(START).chain(nodes.keys().copied());
        if let Some(dead_end) = names().find(|name| ways.get(name).is_none_or(|way| way.targets().is_empty())) {
            return Err(DrawingError::DeadEnd(dead_end));
        }
        let reached = reachable(START, &ways);
        if let Some(unreachable) = nodes.keys().find(|name| !reached.contains(*name)) {
            return Err(DrawingError::Unreachable(unreachable));
        }
        if let Some(endless) = names().find(|name| !reachable(name, &ways).contains(END)) {
            return Err(DrawingError::Endless(endless));
        }
        Ok(Graph { nodes, ways })
    }
}

impl<S: State, E> Default for GraphBuilder<S, E> {
    fn default() -> GraphBuilder<S, E> {
        GraphBuilder::new()
    }
}

impl<S: State, E> fmt::Debug for GraphBuilder<S, E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.nodes.iter().map(|(name, _)| name).collect();
        formatter.debug_struct("GraphBuilder").field("nodes", &names).finish_non_exhaustive()
    }
}

/// Every name that a run may come to after `from`.
fn reachable<S>(from: &'static str, ways: &BTreeMap<&'static str, Way<S>>) -> BTreeSet<&'static str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        let targets = ways.get(name).map_or(&[][..], Way::targets);
        open.extend(targets.iter().filter(|target| reached.insert(**target)));
    }
    reached
}

/// A checked graph: from every node the end can be reached.
pub struct Graph<S: State, E> {
    nodes: BTreeMap<&'static str, Node<S, E>>,
    ways: BTreeMap<&'static str, Way<S>>,
}

/// Why a run did not reach the end.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E> {
    /// A node failed.
    #[error("node `{node}` failed")]
    Node {
        /// Its name.
        node: &'static str,
        /// Its error.
        #[source]
        source: E,
    },
    /// The run took more steps than it may.
    #[error("the run did not end within {steps_max} steps")]
    StepLimit {
        /// The limit that was given.
        steps_max: usize,
    },
    /// A checkpoint of another graph was to be resumed.
    #[error("there is no node `{name}` to go on with")]
    UnknownNode {
        /// The checkpoint's next node.
        name: &'static str,
    },
    /// A condition named a target that its edge does not list.
    #[error("the condition after `{from}` chose `{chosen}`, which is none of its targets")]
    UndeclaredTarget {
        /// The node before the condition.
        from: &'static str,
        /// What it named.
        chosen: &'static str,
    },
}

impl<S: State, E> Graph<S, E> {
    /// Runs from [`START`] to [`END`] and returns the state. A step is one node; a run that would
    /// need more than `steps_max` fails with [`RunError::StepLimit`].
    pub async fn run(&self, state: S, steps_max: usize) -> Result<S, RunError<E>> {
        let beginning = self.begin(state)?;
        self.resume(beginning, steps_max, &Events::unwatched(), |_| ()).await
    }

    /// The checkpoint before the first node.
    pub fn begin(&self, state: S) -> Result<Checkpoint<S>, RunError<E>> {
        let next = self.after(START, &state)?;
        Ok(Checkpoint { state: Arc::new(state), next, step: 0 })
    }

    /// Goes on from `checkpoint` to [`END`] and returns the state. After each node `keep` is given the new checkpoint: one that was kept
    /// is where a run that was cut off may be resumed. Steps that the checkpoint has behind it count towards `steps_max`.
    pub async fn resume(
        &self,
        mut checkpoint: Checkpoint<S>,
        steps_max: usize,
        events: &Events<S::Progress>,
        mut keep: impl FnMut(&Checkpoint<S>),
    ) -> Result<S, RunError<E>> {
        while checkpoint.next != END {
            let Checkpoint { state, next, step } = &mut checkpoint;
            if *step >= steps_max {
                return Err(RunError::StepLimit { steps_max });
            }
            let (name, node) = self.nodes.get_key_value(next).ok_or(RunError::UnknownNode { name: next })?;
            events.send(Event::NodeStarted(name)).await;
            let update = node(state.clone(), events.clone()).await.map_err(|source| RunError::Node { node: name, source })?;
            // The node's own handle is gone by now, so this copies only for a keeper of checkpoints.
            Arc::make_mut(state).apply(update);
            *next = self.after(name, state)?;
            *step += 1;
            events.send(Event::NodeEnded(name)).await;
            keep(&checkpoint);
        }
        Ok(Arc::unwrap_or_clone(checkpoint.state))
    }

    /// The graph as a Mermaid flowchart (<https://mermaid.js.org/syntax/flowchart.html>), with conditional edges dotted, as LangGraph
    /// draws them.
    pub fn to_mermaid(&self) -> String {
        let shown = |name: &'static str| match name {
            START => "start([start])".to_owned(),
            END => "finish([end])".to_owned(),
            name => format!("{name}[{name}]"),
        };
        let mut drawing = "flowchart TD\n".to_owned();
        for (from, way) in &self.ways {
            let arrow = match way {
                Way::Edge(_) => "-->",
                Way::Conditional { .. } => "-.->",
            };
            for to in way.targets() {
                // Writing to a string cannot fail.
                let _ = writeln!(drawing, "    {} {arrow} {}", shown(from), shown(to));
            }
        }
        drawing
    }

    fn after(&self, from: &'static str, state: &S) -> Result<&'static str, RunError<E>> {
        match &self.ways[from] {
            Way::Edge(target) => Ok(target),
            Way::Conditional { choose, targets } => {
                let chosen = choose(state);
                if !targets.contains(&chosen) {
                    return Err(RunError::UndeclaredTarget { from, chosen });
                }
                Ok(chosen)
            }
        }
    }
}

impl<S: State, E> fmt::Debug for Graph<S, E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ways = self.ways.iter().map(|(from, way)| (from, way.targets()));
        formatter.debug_map().entries(ways).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Default, PartialEq)]
    struct Visits(Vec<&'static str>);

    impl State for Visits {
        type Update = &'static str;
        type Progress = String;

        fn apply(&mut self, update: &'static str) {
            self.0.push(update);
        }
    }

    type Drawing<'a> = &'a [(&'static str, &'a [&'static str])];

    /// A graph whose nodes are the keys of `drawing`. The first of several targets is chosen until
    /// three visits were made, then the last.
    fn draw(nodes: &[&'static str], drawing: Drawing<'_>) -> GraphBuilder<Visits, String> {
        let mut builder = GraphBuilder::new();
        for name in nodes.iter().copied() {
            builder.add_node(name, move |state: Arc<Visits>, events: Events<String>| async move {
                events.progress(format!("{name} after {}", state.0.len())).await;
                match name {
                    "fails" => Err("broken".to_owned()),
                    _ => Ok(name),
                }
            });
        }
        for (from, targets) in drawing {
            match targets {
                [target] => builder.add_edge(from, target),
                targets => builder.add_conditional_edges(from, |state: &Visits| if state.0.len() < 3 { "a" } else { END }, targets),
            }
        }
        builder
    }

    fn check_drawing(nodes: &[&'static str], drawing: Drawing<'_>, expected: DrawingError) {
        assert_eq!(draw(nodes, drawing).compile().unwrap_err(), expected);
    }

    #[test]
    fn mistakes_are_found_when_compiling() {
        check_drawing(&[], &[], DrawingError::DeadEnd(START));
        check_drawing(&["a"], &[(START, &["a"])], DrawingError::DeadEnd("a"));
        check_drawing(&["a"], &[(START, &["b"])], DrawingError::UnknownNode("b"));
        check_drawing(&["a"], &[(START, &["a"]), ("a", &[END]), ("b", &[END])], DrawingError::UnknownNode("b"));
        check_drawing(&["a", "b"], &[(START, &["a"]), ("a", &["b"]), ("b", &["a"])], DrawingError::Endless(START));
        check_drawing(&["a", "b"], &[(START, &["a"]), ("a", &[END]), ("b", &[END])], DrawingError::Unreachable("b"));
        check_drawing(&["a", "a"], &[(START, &["a"])], DrawingError::DuplicateNode("a"));
        check_drawing(&[START], &[], DrawingError::DuplicateNode(START));
        check_drawing(&["a"], &[(START, &["a"]), ("a", &[END]), ("a", &["a"])], DrawingError::AmbiguousWay("a"));
    }

    async fn check_run(nodes: &[&'static str], drawing: Drawing<'_>, expected: Result<&[&'static str], &str>) {
        let graph = draw(nodes, drawing).compile().unwrap();
        let visited = graph.run(Visits::default(), 6).await.map(|state| state.0);
        assert_eq!(visited.map_err(|error| error.to_string()), expected.map(<[_]>::to_vec).map_err(str::to_owned));
    }

    #[tokio::test]
    async fn a_run_follows_the_edges() {
        let line: Drawing<'_> = &[(START, &["a"]), ("a", &["b"]), ("b", &[END])];
        check_run(&["a", "b"], line, Ok(&["a", "b"])).await;
        let turn: Drawing<'_> = &[(START, &["a"]), ("a", &["a", END])];
        check_run(&["a"], turn, Ok(&["a", "a", "a"])).await;
    }

    #[tokio::test]
    async fn a_run_that_cannot_end_says_why() {
        let failing: Drawing<'_> = &[(START, &["fails"]), ("fails", &[END])];
        check_run(&["fails"], failing, Err("node `fails` failed")).await;
        let astray: Drawing<'_> = &[(START, &["b"]), ("b", &["b", END])];
        let message = "the condition after `b` chose `a`, which is none of its targets";
        check_run(&["b"], astray, Err(message)).await;
    }

    #[tokio::test]
    async fn the_last_allowed_step_may_reach_the_end() {
        let graph = draw(&["a"], &[(START, &["a"]), ("a", &["a", END])]).compile().unwrap();
        assert_eq!(graph.run(Visits::default(), 3).await.unwrap().0.len(), 3);
        let error = graph.run(Visits::default(), 2).await.unwrap_err();
        assert_eq!(error.to_string(), "the run did not end within 2 steps");
    }

    #[tokio::test]
    async fn a_watched_run_tells_what_happens_in_its_order() {
        let graph = draw(&["a", "b"], &[(START, &["a"]), ("a", &["b"]), ("b", &[END])]).compile().unwrap();
        let (sender, mut receiver) = mpsc::channel(16);
        let beginning = graph.begin(Visits::default()).unwrap();
        graph.resume(beginning, 6, &Events::to(sender), |_| ()).await.unwrap();
        let mut told = Vec::new();
        while let Some(event) = receiver.recv().await {
            told.push(event);
        }
        let progress = |text: &str| Event::Progress(text.to_owned());
        let expected = [
            Event::NodeStarted("a"),
            progress("a after 0"),
            Event::NodeEnded("a"),
            Event::NodeStarted("b"),
            progress("b after 1"),
            Event::NodeEnded("b"),
        ];
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn a_run_goes_on_from_any_of_its_checkpoints() {
        let graph = draw(&["a", "b"], &[(START, &["a"]), ("a", &["b"]), ("b", &[END])]).compile().unwrap();
        let mut kept = vec![graph.begin(Visits::default()).unwrap()];
        let whole = graph.resume(kept[0].clone(), 6, &Events::unwatched(), |checkpoint| kept.push(checkpoint.clone())).await.unwrap();
        assert_eq!(kept.iter().map(|checkpoint| (checkpoint.next, checkpoint.step)).collect::<Vec<_>>(), [("a", 0), ("b", 1), (END, 2)]);
        for checkpoint in kept {
            assert_eq!(graph.resume(checkpoint, 6, &Events::unwatched(), |_| ()).await.unwrap(), whole);
        }
        let astray = Checkpoint { state: Arc::new(Visits::default()), next: "c", step: 0 };
        let error = graph.resume(astray, 6, &Events::unwatched(), |_| ()).await.unwrap_err();
        assert_eq!(error.to_string(), "there is no node `c` to go on with");
    }

    #[tokio::test]
    async fn a_dropped_run_stops_in_its_node() {
        let mut builder = GraphBuilder::<Visits, String>::new();
        let held = Arc::new(());
        let inside = held.clone();
        builder.add_node("waits", move |_, _| {
            let inside = inside.clone();
            async move {
                let _inside = inside;
                std::future::pending().await
            }
        });
        builder.add_edge(START, "waits");
        builder.add_edge("waits", END);
        let graph = builder.compile().unwrap();
        let mut run = Box::pin(graph.run(Visits::default(), 3));
        assert!(futures_util::poll!(&mut run).is_pending());
        assert_eq!(Arc::strong_count(&held), 3, "the node is at work");
        drop(run);
        assert_eq!(Arc::strong_count(&held), 2, "and ends with its run");
    }

    #[test]
    fn a_graph_draws_itself() {
        let graph = draw(&["a", "b"], &[(START, &["a"]), ("a", &["b", END]), ("b", &["a"])]).compile().unwrap();
        let expected = "flowchart TD\n    start([start]) --> a[a]\n    a[a] -.-> b[b]\n    a[a] -.-> finish([end])\n    b[b] --> a[a]\n";
        assert_eq!(graph.to_mermaid(), expected);
    }
}
