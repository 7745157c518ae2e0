use super::*;
use crate::rollout::ChatTurn;

const PROMPT: [u32; 4] = [9, 151, 151, 8];

fn options() -> SampleOptions {
    SampleOptions {
        max_new_tokens: 3,
        temperature: 0.75,
        top_k: 0,
        top_p: 0.5,
        repetition_penalty: 1.25,
        stop_ids: vec![2, 3],
        max_num_seqs: 0,
    }
}

fn read(answer: &Value) -> Result<Completion, HttpFault> {
    let options = options();
    let expected = Expected {
        url: "http://h/v1/chat/completions",
        id: "row 7",
        prompt: &PROMPT,
        options: &options,
        banned: &[151],
    };
    expected.read(answer.to_string().as_bytes())
}

fn answer(ids: &[u32], finish: &str) -> Value {
    let content: Vec<Value> = ids
        .iter()
        .map(|_| json!({"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}))
        .collect();
    json!({
        "id": "chatcmpl-1", "model": "a", "prompt_token_ids": PROMPT,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": finish,
                     "logprobs": {"content": content}, "token_ids": ids}],
    })
}

#[test]
fn every_parameter_is_written_out() {
    let chat = Chat {
        turns: vec![ChatTurn {
            role: "user".into(),
            parts: vec![
                ChatPart::Picture(vec![1, 2, 3].into()),
                ChatPart::Text("Which?".into()),
            ],
        }],
    };
    let body = request("vtb-a", &chat, &options(), u64::MAX - 1, &[151]);
    let content = &body["messages"][0]["content"];
    assert_eq!(content[0]["image_url"]["url"], "data:image/png;base64,AQID");
    assert_eq!(content[1], json!({"type": "text", "text": "Which?"}));
    for (key, value) in [
        ("model", json!("vtb-a")),
        ("max_tokens", json!(3)),
        ("temperature", json!(0.75)),
        ("top_p", json!(0.5)),
        ("top_k", json!(-1)),
        ("repetition_penalty", json!(1.25)),
        ("seed", json!(-2)),
        ("stop_token_ids", json!([2, 3])),
        ("logit_bias", json!({"151": -100})),
        ("logprobs", json!(true)),
        ("return_token_ids", json!(true)),
    ] {
        assert_eq!(body[key], value, "{key}");
    }
}

#[test]
fn a_good_answer() {
    let found = read(&answer(&[5, 6, 2], "stop")).unwrap();
    assert_eq!(found.ids, [5, 6, 2]);
    assert_eq!(found.logprobs, [-0.5; 3]);
    assert_eq!(found.stop, StopReason::Stop);
    let cut = read(&answer(&[5, 6, 7], "length")).unwrap();
    assert_eq!(cut.stop, StopReason::Length);
}

#[track_caller]
fn refused(answer: &Value, part: &str) {
    let text = read(answer).unwrap_err().to_string();
    assert!(text.contains(part) && text.contains("http://h/"), "{text}");
}

#[test]
fn other_tokens_of_the_prompt() {
    let mut bad = answer(&[5, 2], "stop");
    bad["prompt_token_ids"] = json!([9, 151, 8]);
    refused(
        &bad,
        "token 2 is 8 there and 151 here (3 and 4 tokens in all)",
    );
    bad["prompt_token_ids"] = json!([9, 151, 151, 8, 1]);
    refused(&bad, "token 4 is 1 there and the end here");
    refused(&bad, "row 7");
    bad["prompt_token_ids"] = Value::Null;
    refused(&bad, "0.10.2");
}

#[test]
fn answers_that_do_not_fit() {
    let mut bad = answer(&[5, 2], "stop");
    bad["choices"][0]["token_ids"] = Value::Null;
    refused(&bad, "return_token_ids");
    bad["choices"][0]["token_ids"] = json!([5, 6, 2]);
    refused(&bad, "2 log-probabilities for 3 sampled tokens");
    bad["choices"] = json!([]);
    refused(&bad, "one completion");
    refused(&json!({"error": 1}), "chat completion");
    refused(
        &json!({"choices": [{"token_ids": [-1]}]}),
        "chat completion",
    );
    refused(&answer(&[], "abort"), "no token");
    refused(&answer(&[5, 6], "stop"), "`stop` at token 6");
    refused(&answer(&[5, 6], "length"), "--max-model-len");
    refused(&answer(&[5, 2, 6], "length"), "beyond a stop token");
    refused(&answer(&[5, 6, 7, 8], "length"), "4 tokens of at most 3");
    refused(&answer(&[151, 2], "stop"), "token 151");
    for logprob in [json!(0.5), json!(-9999.0)] {
        let mut bad = answer(&[5, 2], "stop");
        bad["choices"][0]["logprobs"]["content"][1]["logprob"] = logprob;
        refused(&bad, "log-probability");
    }
}
