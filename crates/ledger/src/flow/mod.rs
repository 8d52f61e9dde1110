//! How much of a bill a set of vouchers can pay: the largest flow from vouchers through programme rates to the lines of the bill.
//!
//! A voucher pays at most its balance; the vouchers of one programme together at most its caps, and of each line at most its
//! rate; the programmes that one agreement carries together at most its cap; each line is paid at most once; all together stay under the stack cap. Vouchers come in order of preference and each takes what it can
//! before the next is asked. Paying lines first come, first served would lose money where one voucher can pay several lines and a
//! later one only some, so a voucher that finds its lines taken moves the earlier ones to other lines (an augmenting path).
//! That makes the sum the true maximum: raising any bound or adding a voucher never lowers it.

mod search;
#[cfg(test)]
mod tests;

use smallvec::smallvec;

use self::search::{Node, Search};

use crate::types::Few;

/// One bill and the vouchers offered for it. Amounts in fen, none negative.
#[derive(Debug, Default)]
pub(crate) struct Problem {
    /// Per line, what it costs.
    pub(crate) lines: Few<i64, 4>,
    /// Per programme, what its caps leave.
    pub(crate) programmes: Few<i64, 4>,
    /// Per group of programmes, those that one agreement carries, what the group's cap leaves.
    pub(crate) groups: Few<i64, 2>,
    /// Per programme, the place of its group.
    pub(crate) group_of: Few<usize, 4>,
    /// Per programme and line, what the rate gives of the line.
    pub(crate) cells: Few<i64, 16>,
    /// Per voucher, in order of preference, the place of its programme and its balance.
    pub(crate) vouchers: Few<(usize, i64), 4>,
    /// Per voucher and line, what the rate gives of the part of the line it covers.
    pub(crate) edges: Few<i64, 16>,
    /// What all together may pay.
    pub(crate) total: i64,
}

// The problem with what is left of its bounds, and what is paid so far. Slices, because a short list asks at each access where it stands.
struct Solver<'a> {
    lines: &'a mut [i64],
    programmes: &'a mut [i64],
    groups: &'a mut [i64],
    group_of: &'a [usize],
    cells: &'a mut [i64],
    // Per programme and line, the cell before anything was paid.
    rates: &'a [i64],
    vouchers: &'a [(usize, i64)],
    edges: &'a [i64],
    total: i64,
    width: usize,
    flow: &'a mut [i64],
    amounts: &'a mut [i64],
}

/// What each voucher pays.
pub(crate) fn solve(mut problem: Problem) -> Few<i64, 4> {
    let mut flow: Few<i64, 16> = smallvec![0; problem.edges.len()];
    let mut amounts: Few<i64, 4> = smallvec![0; problem.vouchers.len()];
    let rates = problem.cells.clone();
    let mut solver = Solver {
        width: problem.lines.len(),
        rates: &rates,
        lines: &mut problem.lines,
        programmes: &mut problem.programmes,
        groups: &mut problem.groups,
        group_of: &problem.group_of,
        cells: &mut problem.cells,
        vouchers: &problem.vouchers,
        edges: &problem.edges,
        total: problem.total,
        flow: &mut flow,
        amounts: &mut amounts,
    };
    let mut search = None;
    for voucher in 0..solver.vouchers.len() {
        solver.pay_directly(voucher);
        solver.pay_by_rerouting(voucher, voucher, &mut search);
        // One that ran into a bound which it shares may be a new way out for those that found none.
        let has_rest = solver.amounts[voucher] < solver.vouchers[voucher].1;
        if has_rest
            && solver.source_left(voucher) == 0
            && let Some(search) = &mut search
            && solver.find_unpaid(voucher, voucher, search).is_some()
        {
            search.dead.fill(false);
        }
    }
    // The largest sum comes before the order of preference: a voucher that used up a bound which it shares gives way to a later one, where
    // another can then pay in its place.
    loop {
        let left = solver.total;
        for voucher in 0..solver.vouchers.len() {
            solver.pay_by_rerouting(voucher, solver.vouchers.len() - 1, &mut search);
        }
        if solver.total == left {
            break;
        }
    }
    let inside = |(paid, bound): (&i64, &i64)| (0..=*bound).contains(paid);
    assert!(
        solver.flow.iter().zip(solver.edges).all(inside),
        "a voucher pays over its rate"
    );
    amounts
}

impl Solver<'_> {
    fn source_left(&self, voucher: usize) -> i64 {
        let (programme, balance) = self.vouchers[voucher];
        (balance - self.amounts[voucher])
            .min(self.programmes[programme])
            .min(self.groups[self.group_of[programme]])
            .min(self.total)
    }

    fn pay_directly(&mut self, voucher: usize) {
        let left = self.source_left(voucher);
        let (width, programme) = (self.width, self.vouchers[voucher].0);
        let edges = self.edges[voucher * width..][..width].iter();
        let cells = self.cells[programme * width..][..width].iter_mut();
        let flow = self.flow[voucher * width..][..width].iter_mut();
        let mut paid = 0;
        for (((line, cell), edge), flow) in self.lines.iter_mut().zip(cells).zip(edges).zip(flow) {
            let part = (edge - *flow).min(*cell).min(*line).min(left - paid);
            *flow += part;
            *cell -= part;
            *line -= part;
            paid += part;
        }
        self.take(voucher, paid);
    }

    // Vouchers after `last` do not take over.
    fn pay_by_rerouting(&mut self, voucher: usize, last: usize, search: &mut Option<Search>) {
        while self.could_pay_more(voucher) {
            let search = search.get_or_insert_with(|| Search::new(self));
            if !self.reroute(voucher, last, search) {
                break;
            }
        }
    }

    fn take(&mut self, voucher: usize, paid: i64) {
        self.amounts[voucher] += paid;
        let programme = self.vouchers[voucher].0;
        self.programmes[programme] -= paid;
        self.groups[self.group_of[programme]] -= paid;
        self.total -= paid;
    }

    // Cheap and almost always the end of it: there is money, a line to pay, and a way out of the voucher and of its programme.
    fn could_pay_more(&self, voucher: usize) -> bool {
        let programme = self.vouchers[voucher].0;
        let edges = voucher * self.width..(voucher + 1) * self.width;
        let cells = programme * self.width..(programme + 1) * self.width;
        self.source_left(voucher) > 0
            && self.lines.iter().any(|left| *left > 0)
            && self.cells[cells].iter().any(|left| *left > 0)
            && edges.into_iter().any(|edge| self.flow[edge] < self.edges[edge])
    }

    // The nearest line with something unpaid: voucher -> programme's share of a line -> line, backwards where others can give way.
    fn find_unpaid(&self, start: usize, last: usize, search: &mut Search) -> Option<usize> {
        search.begin(Node::Voucher(start));
        let mut next = 0;
        while let Some(node) = search.queue.get(next).copied() {
            next += 1;
            match node {
                Node::Line(line) if self.lines[line] > 0 => return Some(line),
                _ => self.visit_neighbours(node, last, search),
            }
        }
        search.bury_visited();
        None
    }

    // Pays along one augmenting path, a shortest.
    fn reroute(&mut self, start: usize, last: usize, search: &mut Search) -> bool {
        let Some(line) = self.find_unpaid(start, last, search) else {
            return false;
        };
        let path = search.path_to(Node::Line(line));
        let steps = || path.windows(2).map(|step| (step[0], step[1]));
        let bound = steps()
            .map(|(here, there)| self.residual(here, there))
            .min()
            .unwrap_or(0);
        let paid = bound.min(self.lines[line]).min(self.source_left(start));
        for (here, there) in steps() {
            self.push(here, there, paid);
        }
        self.lines[line] -= paid;
        self.take(start, paid);
        paid > 0
    }

    // Vouchers after `last` have not been asked yet: they never pay in the place of one before them. Of all that could take over from the
    // vouchers of one programme, the first of these that pays anything finds every one, so the others need not look.
    fn visit_neighbours(&self, node: Node, last: usize, search: &mut Search) {
        let visit = |search: &mut Search, there: Node| {
            if self.residual(node, there) > 0 {
                search.visit(node, there);
            }
        };
        match node {
            Node::Voucher(voucher) => {
                let programme = self.vouchers[voucher].0;
                for line in 0..self.width {
                    visit(search, Node::Cell(programme, line));
                }
                if self.amounts[voucher] > 0 {
                    for there in search.may_take_over(programme, self.group_of[programme], last) {
                        visit(search, Node::Voucher(there));
                    }
                }
            }
            Node::Cell(programme, line) => {
                visit(search, Node::Line(line));
                for place in 0..search.of_programme[programme].len() {
                    visit(search, Node::Voucher(search.of_programme[programme][place]));
                }
            }
            Node::Line(line) => {
                for programme in 0..self.programmes.len() {
                    visit(search, Node::Cell(programme, line));
                }
            }
        }
    }

    fn residual(&self, here: Node, there: Node) -> i64 {
        let programme_of = |voucher: usize| self.vouchers[voucher].0;
        match (here, there) {
            (Node::Voucher(voucher), Node::Cell(_, line)) => {
                let edge = voucher * self.width + line;
                self.edges[edge] - self.flow[edge]
            }
            (Node::Cell(programme, line), Node::Line(_)) => self.cells[programme * self.width + line],
            (Node::Cell(programme, line), Node::Voucher(voucher)) if programme_of(voucher) == programme => {
                self.flow[voucher * self.width + line]
            }
            // What the programme's vouchers pay of the line.
            (Node::Line(line), Node::Cell(programme, _)) => {
                let cell = programme * self.width + line;
                self.rates[cell] - self.cells[cell]
            }
            // Another voucher of the same programme pays in the first one's place: the programme pays no more than before.
            (Node::Voucher(here), Node::Voucher(there))
                if here != there && programme_of(here) == programme_of(there) =>
            {
                (self.vouchers[there].1 - self.amounts[there]).min(self.amounts[here])
            }
            // The same between programmes of one group: the agreement pays no more than before.
            (Node::Voucher(here), Node::Voucher(there))
                if self.group_of[programme_of(here)] == self.group_of[programme_of(there)] =>
            {
                (self.vouchers[there].1 - self.amounts[there])
                    .min(self.amounts[here])
                    .min(self.programmes[programme_of(there)])
            }
            _ => 0,
        }
    }

    fn push(&mut self, here: Node, there: Node, paid: i64) {
        match (here, there) {
            (Node::Voucher(voucher), Node::Cell(_, line)) => self.flow[voucher * self.width + line] += paid,
            (Node::Cell(_, line), Node::Voucher(voucher)) => self.flow[voucher * self.width + line] -= paid,
            (Node::Cell(programme, line), Node::Line(_)) => self.cells[programme * self.width + line] -= paid,
            (Node::Line(line), Node::Cell(programme, _)) => self.cells[programme * self.width + line] += paid,
            (Node::Voucher(here), Node::Voucher(there)) => {
                self.amounts[here] -= paid;
                self.amounts[there] += paid;
                let (from, to) = (self.vouchers[here].0, self.vouchers[there].0);
                self.programmes[from] += paid;
                self.programmes[to] -= paid;
            }
            _ => {}
        }
    }
}
