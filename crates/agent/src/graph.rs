//! A small typed state graph: nodes that update a state, and edges that say which node is next.
//!
//! It follows the vocabulary of LangGraph's `StateGraph` (nodes, edges, conditional edges, `START`,
//! `END`, compile, a step limit) and knows nothing of messages, models or tools. One node runs at a
//! time. A run is cancelled by dropping its future.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Where every run begins. Not a node: edges leave it, none arrive.
pub const START: &str = "__start__";
/// Where every run ends. Not a node: edges arrive, none leave.
pub const END: &str = "__end__";

/// What the nodes work on.
pub trait State: Clone + Send + Sync + 'static {
    /// What a node returns: the change, not the whole.
    type Update: Send + 'static;

    /// Makes the change.
    fn apply(&mut self, update: Self::Update);
}

type NodeFuture<S, E> = Pin<Box<dyn Future<Output = Result<<S as State>::Update, E>> + Send>>;
type Node<S, E> = Box<dyn Fn(Arc<S>) -> NodeFuture<S, E> + Send + Sync>;

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

    /// Adds a node: an async function from the state to its update.
    pub fn add_node<N, F>(&mut self, name: &'static str, node: N)
    where
        N: Fn(Arc<S>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<S::Update, E>> + Send + 'static,
    {
        self.nodes.push((name, Box::new(move |state| Box::pin(node(state)))));
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
        let mut state = Arc::new(state);
        let mut next = self.after(START, &state)?;
        for _ in 0..steps_max {
            let Some((name, node)) = self.nodes.get_key_value(next) else { break };
            let update = node(state.clone()).await.map_err(|source| RunError::Node { node: name, source })?;
            // The node's own handle is gone by now, so this does not copy.
            Arc::make_mut(&mut state).apply(update);
            next = self.after(name, &state)?;
        }
        if next != END {
            return Err(RunError::StepLimit { steps_max });
        }
        Ok(Arc::unwrap_or_clone(state))
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
            builder.add_node(name, move |_| async move {
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
}
