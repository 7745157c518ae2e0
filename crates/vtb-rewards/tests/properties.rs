//! What must hold for any text and any maze.

#![allow(clippy::unwrap_used)] // helpers of tests, outside `#[test]`

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use vtb_puzzle::answer::{
    AnswerPolicy, MultiplePolicy, TagPolicy, parse_choice, parse_grid, parse_path, parse_sequence,
    text_from_bytes,
};
use vtb_puzzle::graph::{CellId, MazeGraph};
use vtb_rewards::{Completion, Reference, Registry, Reward};

const OPTIONS: [&str; 5] = ["A", "B", "C", "D", "E"];

fn reward(name: &str) -> Box<dyn Reward> {
    Registry::builtin().build(name, &Value::Null).unwrap()
}

fn value(reward: &dyn Reward, reference: &Reference, text: &str) -> f64 {
    reward.score(&Completion::new(text), reference).value
}

fn references() -> Vec<Reference> {
    let rows = [
        json!({}),
        json!({"solution": "B"}),
        json!({"solution": "light blue"}),
        json!({"solution": "blue", "options": ["blue", "light blue", "red", "-", ""]}),
        json!({"solution": [1, 2, 3]}),
        json!({"solution": ["A", "B"], "options": ["A", "B", "light blue"]}),
        json!({"solution": [[1, 2], [3, 1]]}),
    ];
    let read = |row: &Value| Reference::from_row(row.as_object().unwrap()).unwrap();
    rows.iter().map(read).collect()
}

/// Texts rich in everything the parser looks for.
fn soup() -> impl Strategy<Value = String> {
    let parts = [
        "<answer>",
        "</answer>",
        "< Answer",
        "/",
        ">",
        "<think>",
        "</think>",
        "[",
        "]",
        "1",
        "2",
        "3",
        ",",
        ", ",
        "-",
        ".",
        "999999999999",
        "B",
        "a",
        "A ",
        "Alpha",
        "x-ray",
        "not ",
        "isn't ",
        "answer",
        " is ",
        "option ",
        "\n",
        " ",
        "blue",
        "light ",
        "Ｂ",
        "\u{200b}",
        "é",
        "'",
        "\u{0}",
        "٣",
    ];
    prop::collection::vec(select(parts.to_vec()), 0..40).prop_map(|parts| parts.concat())
}

/// A maze with a spanning tree and some loops; ids are not in order of place.
fn maze() -> impl Strategy<Value = MazeGraph> {
    let links = prop::collection::vec(any::<Index>(), 3..30);
    let loops = prop::collection::vec((any::<Index>(), any::<Index>()), 0..4);
    (links, loops, any::<Index>()).prop_map(|(links, loops, goal)| {
        let count = links.len() + 1;
        let id = |place: usize| ((place * 7 + 3) % 211) as CellId;
        let tree = links
            .iter()
            .enumerate()
            .map(|(at, parent)| (id(parent.index(at + 1)), id(at + 1)));
        let mut passages: Vec<_> = tree.collect();
        let more = loops
            .iter()
            .map(|(a, b)| (id(a.index(count)), id(b.index(count))));
        passages.extend(more.filter(|(a, b)| a != b));
        let cells = (0..count).map(id).collect();
        MazeGraph::new(cells, &passages, id(0), id(1 + goal.index(count - 1))).unwrap()
    })
}

fn listed(ids: &[CellId]) -> String {
    format!("{ids:?}")
}

proptest! {
    #[test]
    fn any_bytes_get_a_finite_score_and_always_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..200), soup in soup(),
    ) {
        let noise = text_from_bytes(&bytes);
        for text in [noise.as_ref(), &soup, &format!("{soup}{noise}")] {
            for name in Registry::builtin().names() {
                let reward = reward(name);
                for reference in references() {
                    let completion = Completion::new(text);
                    let score = reward.score(&completion, &reference);
                    prop_assert!((-1.0..=1.0).contains(&score.value), "{name}: {}", score.value);
                    prop_assert_eq!(&score, &reward.score(&completion, &reference));
                }
            }
        }
    }

    #[test]
    fn the_parser_survives_any_text_under_any_policy(
        soup in soup(), text in any::<String>(), cap in 0_usize..300, drop_bad in any::<bool>(),
        tags in select(&[TagPolicy::Required, TagPolicy::Preferred, TagPolicy::Ignored][..]),
        multiple in select(&[MultiplePolicy::Last, MultiplePolicy::First, MultiplePolicy::Error][..]),
    ) {
        let policy = AnswerPolicy {
            tags, multiple, drop_bad_items: drop_bad, max_bytes: cap, ..AnswerPolicy::default()
        };
        for options in [vec![], OPTIONS.map(String::from).to_vec(), vec!["light blue".to_owned(), "-".to_owned()]] {
            for text in [&soup, &text] {
                let choice = parse_choice(text, &options, &policy);
                prop_assert_eq!(choice.option.is_some(), choice.status.as_str() == "ok");
                prop_assert!(choice.option.is_none_or(|option| option < options.len()));
                let sequence = parse_sequence(text, &options, 4, &policy);
                prop_assert_eq!(!sequence.names.is_empty(), sequence.status.as_str() == "ok");
                prop_assert!(sequence.names.iter().all(|name| options.contains(name)));
                prop_assert!(sequence.names.len() <= 4);
                let grid = parse_grid(text, 4, &policy);
                prop_assert_eq!(!grid.rows.is_empty(), grid.status.as_str() == "ok");
                prop_assert!(grid.rows.len() <= 4 && grid.rows.iter().all(|row| row.len() <= 4));
                let path = parse_path(text, 4, &policy);
                prop_assert_eq!(!path.ids.is_empty(), path.status.as_str() == "ok");
                prop_assert!(path.ids.len() <= 4);
            }
        }
    }

    #[test]
    fn a_longer_legal_prefix_never_scores_less(graph in maze(), junk in 0_u32..211) {
        let (route, path) = (graph.shortest_path(), reward("path"));
        let reference = Reference::maze(graph.clone());
        let of = |ids: &[CellId]| value(path.as_ref(), &reference, &listed(ids));
        for end in 1..route.len() {
            let (shorter, longer) = (&route[..end], &route[..=end]);
            prop_assert!(of(shorter) < of(longer));
            let broken = |ids: &[CellId]| [ids, &[junk, junk]].concat();
            prop_assert!(of(&broken(shorter)) <= of(&broken(longer)));
        }
        prop_assert_eq!(of(&route[..1]), 0.0);
        prop_assert_eq!(of(&route), 1.0);
        if route.len() > 2 {
            prop_assert!(of(&[graph.start(), graph.goal()]) == 0.0
                || graph.neighbours(graph.start()).contains(&graph.goal()));
        }
    }

    #[test]
    fn shuffling_or_doubling_items_never_scores_more(
        graph in maze(), end in any::<Index>(), copied in any::<Index>(), to in any::<Index>(),
        keys in prop::collection::vec(any::<u32>(), 40),
    ) {
        let (route, path) = (graph.shortest_path(), reward("path"));
        let legal = &route[..=end.index(route.len())];
        let reference = Reference::maze(graph.clone());
        let of = |ids: &[CellId]| value(path.as_ref(), &reference, &listed(ids));
        let mut order: Vec<usize> = (0..legal.len()).collect();
        order.sort_by_key(|&at| keys.get(at));
        let shuffled: Vec<_> = order.iter().map(|&at| legal[at]).collect();
        prop_assert!(of(&shuffled) <= of(legal));
        let mut doubled = legal.to_vec();
        doubled.insert(to.index(legal.len() + 1), legal[copied.index(legal.len())]);
        prop_assert!(of(&doubled) <= of(legal));
        let twice = [legal, legal].concat();
        prop_assert!(of(&twice) <= of(legal));
        prop_assert!(of(&[&route[..], &route[..]].concat()) < 1.0);
    }

    #[test]
    fn appending_to_a_path_never_helps_unless_it_goes_on(
        graph in maze(), end in any::<Index>(),
        extra in prop::collection::vec(0_u32..220, 1..6), text in soup(),
    ) {
        let (route, path) = (graph.shortest_path(), reward("path"));
        let end = end.index(route.len());
        let reference = Reference::maze(graph.clone());
        let of = |text: &str| value(path.as_ref(), &reference, text);
        let before = of(&listed(&route[..=end]));
        let closer = |id: &CellId| {
            let left = graph.distance_to_goal(route[end]).unwrap();
            graph.distance_to_goal(*id).is_some_and(|other| other < left)
        };
        if !extra.iter().any(closer) {
            prop_assert!(of(&listed(&[&route[..=end], &extra[..]].concat())) <= before);
        }
        prop_assert!(of(&listed(&[&route[..], &extra[..]].concat())) < 1.0);
        let tail = text.replace("</think>", "");
        let tagged = format!("<answer>{}</answer>{tail}", listed(&route[..=end]));
        prop_assert!(of(&tagged) <= before);
    }

    #[test]
    fn saying_the_right_answer_twice_changes_nothing(
        right in select(&OPTIONS[..]), between in select(&["", " ", "\n", " so "][..]),
        lower in any::<bool>(), ids in prop::collection::vec(0_u32..50, 2..8),
    ) {
        let choice = reward("choice");
        let reference = Reference::choice(&OPTIONS, right).unwrap();
        let again = if lower { right.to_lowercase() } else { right.to_owned() };
        let text = format!("<answer>{right}</answer>{between}<answer>{again}</answer>");
        prop_assert_eq!(value(choice.as_ref(), &reference, &text), 1.0);
        prop_assert_eq!(value(choice.as_ref(), &reference, &format!("{right}\n{again}")), 1.0);
        let list = listed(&ids);
        let twice = format!("<answer>{list}</answer>{between}<answer>{list}</answer>");
        let once = parse_path(&format!("<answer>{list}</answer>"), 50, &AnswerPolicy::default());
        prop_assert_eq!(parse_path(&twice, 50, &AnswerPolicy::default()).ids, once.ids);
    }

    #[test]
    fn appending_junk_to_an_answer_never_helps(
        right in select(&OPTIONS[..]),
        said in select(&["A", "B", "(C)", "Delta", "Z", "", "A or B", "option E", "answer: D"][..]),
        tail in soup(),
        words in prop::collection::vec(select(&["hmm", "well", "42", ".", "!", "\n", "of course", "?!"][..]), 0..6),
    ) {
        let choice = reward("choice");
        let reference = Reference::choice(&OPTIONS, right).unwrap();
        let of = |text: &str| value(choice.as_ref(), &reference, text);
        let tagged = format!("<answer>{said}</answer>");
        // A closing thinking mark says that all before it was not the answer yet.
        let tail = tail.replace("</think>", "");
        let longer = format!("{tagged}{tail}");
        prop_assert!(of(&longer) <= of(&tagged), "{}", longer);
        if said != "A or B" {
            let longer = format!("{said}. {}", words.join(" "));
            prop_assert!(of(&longer) <= of(said), "{}", longer);
        }
    }
}

/// A parser that looks back for every character would not come to an end here.
#[test]
fn long_texts_take_linear_time() {
    const BYTES: usize = 1 << 17;
    let parts = [
        "<",
        "< ",
        "<answer>",
        "<answer>B</answer>",
        "[",
        "[]",
        "[1,",
        "1,",
        "B or ",
        "the ",
        "not ",
        "answer is ",
        "option a ",
        "\n",
        "-",
        "٣",
        "𝟿",
        "\u{fdfa}",
        "x-ray ",
    ];
    let start = std::time::Instant::now();
    for part in parts {
        let text = part.repeat(BYTES / part.len());
        for reference in references() {
            for name in ["auto", "format", "legacy_overlap"] {
                let score = value(reward(name).as_ref(), &reference, &text);
                assert!((-1.0..=1.0).contains(&score));
            }
        }
    }
    assert!(start.elapsed().as_secs() < 60, "took {:?}", start.elapsed());
}
