//! The search for augmenting paths, breadth first, kept from one voucher to the next.

use super::Solver;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Node {
    Voucher(usize),
    Cell(usize, usize),
    Line(usize),
}

/// The search for paths, kept from one voucher to the next. What a search that found nothing has visited cannot reach an unpaid line: its ways out
/// are used up, and a later path cannot open one, as it would have to pass through. Only a voucher that comes later can be a new way out, and for as
/// long as that one is asked itself nothing has to pass through it. So such nodes are dead, and all fruitless searches together
/// look at each node once.
pub(super) struct Search {
    width: usize,
    vouchers: usize,
    pub(super) of_programme: Vec<Vec<usize>>,
    of_group: Vec<Vec<usize>>,
    pub(super) dead: Vec<bool>,
    from: Vec<Option<Node>>,
    pub(super) queue: Vec<Node>,
    /// Per programme and per group, whether those who could take over from its vouchers were visited.
    programme_asked: Vec<bool>,
    group_asked: Vec<bool>,
}

impl Search {
    pub(super) fn new(solver: &Solver<'_>) -> Self {
        let (vouchers, programmes) = (solver.vouchers.len(), solver.programmes.len());
        let mut of_programme = vec![Vec::new(); programmes];
        let mut of_group = vec![Vec::new(); solver.groups.len()];
        for (voucher, (programme, _)) in solver.vouchers.iter().enumerate() {
            of_programme[*programme].push(voucher);
            of_group[solver.group_of[*programme]].push(voucher);
        }
        let nodes = vouchers + solver.cells.len() + solver.width;
        Self {
            width: solver.width,
            vouchers,
            programme_asked: vec![false; programmes],
            group_asked: vec![false; of_group.len()],
            of_programme,
            of_group,
            dead: vec![false; nodes],
            from: vec![None; nodes],
            queue: Vec::new(),
        }
    }

    fn number(&self, node: Node) -> usize {
        match node {
            Node::Voucher(voucher) => voucher,
            Node::Cell(programme, line) => self.vouchers + programme * self.width + line,
            Node::Line(line) => self.from.len() - self.width + line,
        }
    }

    pub(super) fn begin(&mut self, start: Node) {
        self.from.fill(None);
        self.queue.clear();
        self.programme_asked.fill(false);
        self.group_asked.fill(false);
        self.visit(start, start);
    }

    pub(super) fn visit(&mut self, here: Node, there: Node) {
        let number = self.number(there);
        if self.from[number].is_none() && !self.dead[number] {
            self.from[number] = Some(here);
            self.queue.push(there);
        }
    }

    /// The vouchers up to `last` to be asked whether they take over from one of this programme, in their order.
    pub(super) fn may_take_over(&mut self, programme: usize, group: usize, last: usize) -> Vec<usize> {
        let asked = std::mem::replace(&mut self.programme_asked[programme], true);
        let group_asked = std::mem::replace(&mut self.group_asked[group], true);
        let vouchers = match (asked, group_asked) {
            (true, _) => return Vec::new(),
            (false, true) => &self.of_programme[programme],
            (false, false) => &self.of_group[group],
        };
        vouchers
            .iter()
            .copied()
            .take_while(|voucher| *voucher <= last)
            .collect()
    }

    pub(super) fn path_to(&self, end: Node) -> Vec<Node> {
        let mut path = vec![end];
        loop {
            let node = path[path.len() - 1];
            let before = self.from[self.number(node)].expect("every node on the path was reached from another");
            if before == node {
                break;
            }
            path.push(before);
        }
        path.reverse();
        path
    }

    pub(super) fn bury_visited(&mut self) {
        for place in 0..self.queue.len() {
            let number = self.number(self.queue[place]);
            self.dead[number] = true;
        }
    }
}
