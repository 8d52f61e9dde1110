//! How much of a bill a set of vouchers can pay: the largest flow from vouchers through programme rates to the lines of the bill.
//!
//! A voucher pays at most its balance; the vouchers of one programme together at most its caps, and of each line at most its
//! rate; the programmes that one agreement carries together at most its cap; each line is paid at most once; all together stay under the stack cap. Vouchers come in order of preference and each takes what it can
//! before the next is asked. Paying lines first come, first served would lose money where one voucher can pay several lines and a
//! later one only some, so a voucher that finds its lines taken moves the earlier ones to other lines (an augmenting path).
//! That makes the sum the true maximum: raising any bound or adding a voucher never lowers it.

use smallvec::smallvec;

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
    let mut solver = Solver {
        width: problem.lines.len(),
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
    for voucher in 0..solver.vouchers.len() {
        let more = solver.pay_directly(voucher);
        while more && solver.could_pay_more(voucher) && solver.reroute(voucher) {}
    }
    let inside = |(paid, bound): (&i64, &i64)| (0..=*bound).contains(paid);
    assert!(
        solver.flow.iter().zip(solver.edges).all(inside),
        "a voucher pays over its rate"
    );
    amounts
}

#[derive(Clone, Copy, PartialEq)]
enum Node {
    Voucher(usize),
    Cell(usize, usize),
    Line(usize),
}

impl Solver<'_> {
    fn source_left(&self, voucher: usize) -> i64 {
        let (programme, balance) = self.vouchers[voucher];
        (balance - self.amounts[voucher])
            .min(self.programmes[programme])
            .min(self.groups[self.group_of[programme]])
            .min(self.total)
    }

    // Whether the voucher could pay more than it found to pay.
    fn pay_directly(&mut self, voucher: usize) -> bool {
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
        paid < left
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

    // One augmenting path, shortest first: voucher -> programme's share of a line -> line, backwards where others can give way.
    fn reroute(&mut self, start: usize) -> bool {
        let (count, width) = (self.vouchers.len(), self.width);
        let number = |node: Node| match node {
            Node::Voucher(voucher) => voucher,
            Node::Cell(programme, line) => count + programme * width + line,
            Node::Line(line) => count + self.cells.len() + line,
        };
        let mut from: Vec<Option<Node>> = vec![None; count + self.cells.len() + width];
        from[number(Node::Voucher(start))] = Some(Node::Voucher(start));
        let mut queue = vec![Node::Voucher(start)];
        let mut next = 0;
        let mut end = None;
        while let Some(node) = queue.get(next).copied() {
            next += 1;
            if let Node::Line(line) = node
                && self.lines[line] > 0
            {
                end = Some(node);
                break;
            }
            for neighbour in self.neighbours(node, start) {
                let slot = &mut from[number(neighbour)];
                if slot.is_none() {
                    *slot = Some(node);
                    queue.push(neighbour);
                }
            }
        }
        let Some(end) = end else { return false };
        let mut path = vec![end];
        while path[path.len() - 1] != Node::Voucher(start) {
            path.push(from[number(path[path.len() - 1])].expect("every node on the path was reached from another"));
        }
        path.reverse();
        let steps = || path.windows(2).map(|step| (step[0], step[1]));
        let Node::Line(last) = end else { return false };
        let bound = steps()
            .map(|(here, there)| self.residual(here, there))
            .min()
            .unwrap_or(0);
        let paid = bound.min(self.lines[last]).min(self.source_left(start));
        for (here, there) in steps() {
            self.push(here, there, paid);
        }
        self.lines[last] -= paid;
        self.take(start, paid);
        paid > 0
    }

    // Vouchers after `start` have not been asked yet: they never pay in the place of one before them.
    fn neighbours(&self, node: Node, start: usize) -> Vec<Node> {
        let vouchers = 0..=start;
        let candidates: Vec<Node> = match node {
            Node::Voucher(voucher) => {
                let programme = self.vouchers[voucher].0;
                (0..self.width)
                    .map(|line| Node::Cell(programme, line))
                    .chain(vouchers.map(Node::Voucher))
                    .collect()
            }
            Node::Cell(_, line) => std::iter::once(Node::Line(line))
                .chain(vouchers.map(Node::Voucher))
                .collect(),
            Node::Line(line) => (0..self.programmes.len())
                .map(|programme| Node::Cell(programme, line))
                .collect(),
        };
        candidates
            .into_iter()
            .filter(|there| self.residual(node, *there) > 0)
            .collect()
    }

    fn residual(&self, here: Node, there: Node) -> i64 {
        let programme_of = |voucher: usize| self.vouchers[voucher].0;
        let paid_through = |programme: usize, line: usize| {
            let vouchers = (0..self.amounts.len()).filter(|voucher| programme_of(*voucher) == programme);
            vouchers.map(|voucher| self.flow[voucher * self.width + line]).sum()
        };
        match (here, there) {
            (Node::Voucher(voucher), Node::Cell(_, line)) => {
                let edge = voucher * self.width + line;
                self.edges[edge] - self.flow[edge]
            }
            (Node::Cell(programme, line), Node::Line(_)) => self.cells[programme * self.width + line],
            (Node::Cell(programme, line), Node::Voucher(voucher)) if programme_of(voucher) == programme => {
                self.flow[voucher * self.width + line]
            }
            (Node::Line(line), Node::Cell(programme, _)) => paid_through(programme, line),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_voucher_gives_way_on_a_line_that_only_the_next_can_pay() {
        // The first voucher could pay either line, the second only the first line.
        let problem = Problem {
            lines: smallvec![100, 100],
            programmes: smallvec![i64::MAX, i64::MAX],
            groups: smallvec![i64::MAX],
            group_of: smallvec![0, 0],
            cells: smallvec![100, 100, 100, 0],
            vouchers: smallvec![(0, 100), (1, 100)],
            edges: smallvec![100, 100, 100, 0],
            total: i64::MAX,
        };
        assert_eq!(solve(problem)[..], [100, 100]);
    }

    // A rerouting for the first voucher had the second pay already; paying directly it forgot that and went over its rate.
    #[test]
    fn a_voucher_that_gave_way_keeps_to_its_rate() {
        let problem = Problem {
            lines: smallvec![0, 6],
            programmes: smallvec![6],
            groups: smallvec![i64::MAX],
            group_of: smallvec![0],
            cells: smallvec![0, 6],
            vouchers: smallvec![(0, 5), (0, 2)],
            edges: smallvec![1, 1, 0, 1],
            total: 3,
        };
        assert_eq!(solve(problem)[..], [1, 1]);
    }

    #[test]
    fn two_vouchers_of_one_programme_do_not_double_its_rate() {
        let problem = Problem {
            lines: smallvec![1_000],
            programmes: smallvec![i64::MAX],
            groups: smallvec![i64::MAX],
            group_of: smallvec![0],
            cells: smallvec![250],
            vouchers: smallvec![(0, 200), (0, 900)],
            edges: smallvec![250, 250],
            total: i64::MAX,
        };
        assert_eq!(solve(problem)[..], [200, 50]);
    }

    // Two programmes that one agreement carries each took the agreement's cap per job for themselves.
    #[test]
    fn the_programmes_of_one_group_share_its_cap() {
        let problem = Problem {
            lines: smallvec![1_000],
            programmes: smallvec![i64::MAX, i64::MAX],
            groups: smallvec![300],
            group_of: smallvec![0, 0],
            cells: smallvec![250, 250],
            vouchers: smallvec![(0, 900), (1, 900)],
            edges: smallvec![250, 250],
            total: i64::MAX,
        };
        assert_eq!(solve(problem)[..], [250, 50]);
    }

    // A rerouting for the second voucher asked the third to pay in its place: the sum was right, the order of preference was not.
    #[test]
    fn a_voucher_is_never_passed_over_for_a_later_one() {
        let problem = Problem {
            lines: smallvec![66, 111],
            programmes: smallvec![130, i64::MAX, i64::MAX],
            groups: smallvec![i64::MAX],
            group_of: smallvec![0, 0, 0],
            cells: smallvec![55, 77, 31, 0, 0, 53],
            vouchers: smallvec![(0, 1_485), (1, 12), (2, 38)],
            edges: smallvec![55, 77, 31, 0, 0, 53],
            total: 142,
        };
        assert_eq!(solve(problem)[..], [130, 12, 0]);
    }

    fn problems() -> impl Strategy<Value = Problem> {
        (1usize..4, 1usize..4, 1usize..6).prop_flat_map(|(width, programmes, vouchers)| {
            let amounts = |n| proptest::collection::vec(0i64..12, n);
            let owners = proptest::collection::vec((0..programmes, 0i64..12), vouchers);
            (
                amounts(width),
                amounts(programmes),
                (amounts(2), proptest::collection::vec(0usize..2, programmes)),
                amounts(programmes * width),
                owners,
                amounts(vouchers * width),
                0i64..40,
            )
                .prop_map(
                    |(lines, programmes, (groups, group_of), cells, vouchers, edges, total)| Problem {
                        lines: lines.into(),
                        programmes: programmes.into(),
                        groups: groups.into(),
                        group_of: group_of.into(),
                        cells: cells.into(),
                        vouchers: vouchers.into(),
                        edges: edges.into(),
                        total,
                    },
                )
        })
    }

    // The least cut, by trying every one: slow and with nothing in common with the solver.
    fn least_cut(problem: &Problem) -> i64 {
        let (width, programmes, vouchers) = (problem.lines.len(), problem.programmes.len(), problem.vouchers.len());
        let groups = programmes + vouchers + programmes * width + width;
        let nodes = groups + problem.groups.len();
        let mut least = problem.total;
        for side in 0u32..1 << nodes {
            let near = |node: usize| side >> node & 1 == 1;
            let (voucher, cell) = (
                |v: usize| programmes + v,
                |p: usize, l: usize| programmes + vouchers + p * width + l,
            );
            let line = |l: usize| programmes + vouchers + programmes * width + l;
            let mut cut = 0;
            for (g, left) in problem.groups.iter().enumerate() {
                cut += if near(groups + g) { 0 } else { *left };
            }
            for p in 0..programmes {
                cut += if near(groups + problem.group_of[p]) && !near(p) {
                    problem.programmes[p]
                } else {
                    0
                };
                for l in 0..width {
                    cut += if near(cell(p, l)) && !near(line(l)) {
                        problem.cells[p * width + l]
                    } else {
                        0
                    };
                }
            }
            for (v, (p, balance)) in problem.vouchers.iter().enumerate() {
                cut += if near(*p) && !near(voucher(v)) { *balance } else { 0 };
                for l in 0..width {
                    cut += if near(voucher(v)) && !near(cell(*p, l)) {
                        problem.edges[v * width + l]
                    } else {
                        0
                    };
                }
            }
            cut += (0..width)
                .filter(|l| near(line(*l)))
                .map(|l| problem.lines[l])
                .sum::<i64>();
            least = least.min(cut);
        }
        least
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn each_voucher_pays_what_the_least_cut_around_it_adds(problem in problems().prop_filter("few enough cuts to try", |problem| {
            problem.programmes.len() * (1 + problem.lines.len()) + problem.vouchers.len() + problem.lines.len() <= 14
        })) {
            // As at a settlement: caps were judged at the hold. Where several vouchers share one, no order need give each its increment.
            let balances = problem.vouchers.clone();
            let mut problem = problem;
            problem.programmes.fill(1_000);
            problem.groups.fill(1_000);
            // The least cut around each voucher and those before it, from the last one on.
            let mut cuts = Vec::new();
            for voucher in (0..balances.len()).rev() {
                cuts.push(least_cut(&problem));
                problem.vouchers[voucher].1 = 0;
            }
            problem.vouchers.clone_from(&balances);
            let amounts = solve(problem);
            let mut paid = 0;
            for (amount, cut) in amounts.iter().zip(cuts.iter().rev()) {
                paid += amount;
                prop_assert_eq!(paid, *cut);
            }
            for (amount, (_, balance)) in amounts.iter().zip(&balances) {
                prop_assert!((0..=*balance).contains(amount));
            }
        }
    }
}
