//! Paths, replacement, lifting and gradients.

use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor};
use vtb_nn::lm::NamedTensors;
use vtb_nn::params::{add_gradient, collect_gradients, lift, replace_params, visit_params};

use crate::support::{Stack, WIDTH, init, read, tensor};

fn values(stack: &Stack, prefix: &str) -> BTreeMap<String, (Vec<f32>, Vec<usize>)> {
    let mut all = BTreeMap::new();
    visit_params(stack, prefix, |path, value, shape| {
        let old = all.insert(path.clone(), (read(value), shape));
        assert!(old.is_none(), "{path} visited twice");
    });
    all
}

/// Paths and shapes of [`Stack`].
fn expected() -> BTreeMap<String, Vec<usize>> {
    let mut all = BTreeMap::from([("scale".to_owned(), vec![1])]);
    for i in 0..3 {
        all.insert(format!("blocks.{i}.norm"), vec![WIDTH]);
        all.insert(format!("blocks.{i}.up.weight"), vec![2 * WIDTH, WIDTH]);
        all.insert(format!("blocks.{i}.down.weight"), vec![WIDTH, 2 * WIDTH]);
    }
    all.insert("blocks.1.up.bias".to_owned(), vec![2 * WIDTH]);
    all.insert("blocks.1.down.bias".to_owned(), vec![WIDTH]);
    all
}

#[test]
fn paths_are_field_names_and_indices_and_absent_options_have_none() {
    let found = values(&Stack::fresh(DType::F32), "");
    let shapes = found
        .iter()
        .map(|(path, (_, shape))| (path.clone(), shape.clone()));
    assert_eq!(shapes.collect::<BTreeMap<_, _>>(), expected());
    for (path, (values, shape)) in found {
        assert_eq!(values, init(&path, &shape), "{path}");
    }
}

#[test]
fn a_prefix_goes_before_every_path() {
    let found = values(&Stack::fresh(DType::F32), "model.language");
    let want: Vec<String> = expected()
        .keys()
        .map(|k| format!("model.language.{k}"))
        .collect();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), want);
}

#[test]
fn only_the_asked_values_are_replaced_and_their_types_stay() {
    let stack = Stack::fresh(DType::BF16);
    let before = values(&stack, "m");
    let target = "m.blocks.2.down.weight";
    let mut asked = Vec::new();
    let stack = replace_params(stack, "m", |path| {
        asked.push(path.to_owned());
        (path == target).then(|| tensor(&[0.5; 2 * WIDTH * WIDTH], [72], DType::F32))
    });
    asked.sort();
    assert_eq!(asked, before.keys().cloned().collect::<Vec<_>>());
    let weight = stack.blocks[2].down.weight.val();
    assert_eq!(
        (weight.dtype(), weight.dims()),
        (DType::BF16, [WIDTH, 2 * WIDTH])
    );
    for (path, (after, shape)) in values(&stack, "m") {
        let want = if path == target {
            vec![0.5; 72]
        } else {
            before[&path].0.clone()
        };
        assert_eq!((after, shape), (want, before[&path].1.clone()), "{path}");
    }
}

#[test]
fn lifting_makes_leaves_of_the_trainable_and_leaves_the_module_alone() {
    let stack = Stack::fresh(DType::F32);
    let trains = |path: &str| path.ends_with("bias") || path == "m.blocks.0.norm";
    let lifted = lift(&stack, "m", &trains);
    assert_eq!(values(&lifted, "m"), values(&stack, "m"));
    let mut seen = 0;
    visit_params(&lifted, "m", |path, value, _| {
        assert_eq!(
            value.is_autodiff() && value.is_tracked(),
            trains(&path),
            "{path}"
        );
        seen += 1;
    });
    visit_params(&stack, "m", |path, value, _| {
        assert!(!value.is_autodiff(), "{path}")
    });
    assert_eq!(seen, expected().len());
}

fn forward(stack: &Stack, x: Tensor<2>) -> Tensor<2> {
    let y = stack.blocks.iter().fold(x, |x, block| block.forward(x));
    y * stack.scale.val().unsqueeze::<2>()
}

#[test]
fn gradients_come_flat_in_f32_by_path_and_add_up() {
    for dtype in [DType::F32, DType::BF16] {
        let stack = Stack::fresh(dtype);
        let trains = |path: &str| !path.starts_with("m.blocks.1");
        let lifted = lift(&stack, "m", &trains);
        let x = tensor(&[0.3; 2 * WIDTH], [2, WIDTH], dtype);
        let mut once = NamedTensors::new();
        let mut gradients = forward(&lifted, x).sum().backward();
        collect_gradients(&lifted, "m", &mut gradients, &mut once);
        let mut want = expected();
        want.retain(|path, _| !path.starts_with("blocks.1"));
        assert_eq!(once.len(), want.len());
        for (path, shape) in want {
            let gradient = &once[&format!("m.{path}")];
            assert_eq!(gradient.dims(), [shape.iter().product::<usize>()], "{path}");
            assert_eq!(gradient.dtype(), DType::F32);
            assert!(!gradient.is_autodiff());
            assert!(read(gradient.clone()).iter().any(|g| *g != 0.0), "{path}");
        }
        let mut twice = once.clone();
        for (name, gradient) in &once {
            add_gradient(&mut twice, name.clone(), gradient.clone());
        }
        for (name, gradient) in once {
            let doubled = read(gradient)
                .into_iter()
                .map(|g| 2.0 * g)
                .collect::<Vec<_>>();
            assert_eq!(read(twice[&name].clone()), doubled, "{name}");
        }
    }
}

#[test]
fn leaves_out_of_the_graph_have_no_gradient() {
    let lifted = lift(&Stack::fresh(DType::F32), "", &|_| true);
    let x = tensor(&[0.3; WIDTH], [1, WIDTH], DType::F32);
    let mut found = NamedTensors::new();
    let mut gradients = lifted.blocks[1].forward(x).sum().backward();
    collect_gradients(&lifted, "", &mut gradients, &mut found);
    assert!(
        found.keys().all(|name| name.starts_with("blocks.1.")),
        "{:?}",
        found.keys()
    );
    assert_eq!(found.len(), 5);
}
