//! What is taken out, and what stays readable.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_given_to_a_name_is_taken_out() {
    let table = [
        ("export ANTHROPIC_API_KEY=sk-ant-api03-abcdefghijklmnop", "export ANTHROPIC_API_KEY=[redacted]"),
        ("password=hunter2 ./run", "password=[redacted] ./run"),
        ("password=hunter$2 ./run", "password=[redacted] ./run"),
        (r#"{"db_password": "correct horse"}"#, r#"{"db_password": "[redacted]"}"#),
        (r#"{\"token\": \"abcdef\"}"#, r#"{\"token\": \"[redacted]\"}"#),
        (r#"{"command":"PASSWORD=\"a b\" make"}"#, r#"{"command":"PASSWORD=\"[redacted]\" make"}"#),
        (r#"{"command":"PASSWORD=\"a\\\"b c\" make"}"#, r#"{"command":"PASSWORD=\"[redacted]\" make"}"#),
        (r#"PASSWORD="a b" make"#, r#"PASSWORD="[redacted]" make"#),
        ("TOKEN='a b c' make", "TOKEN='[redacted]' make"),
        (r#"PASSWORD="abc&def" make"#, r#"PASSWORD="[redacted]" make"#),
        (r#"PASSWORD="ab$cd" make"#, r#"PASSWORD="[redacted]" make"#),
        (r#"PASSWORD="a\"b c" make"#, r#"PASSWORD="[redacted]" make"#),
        ("PASSWORD='$6$salt$hash' make", "PASSWORD='[redacted]' make"),
        ("PASSWORD=\"hunter2 and no end", "PASSWORD=\"[redacted] and no end"),
        ("password => 'hunter2',", "password => '[redacted]',"),
        ("password := \"hunter2\"", "password := \"[redacted]\""),
        (r#"{"password":["hunter2"]}"#, r#"{"password":["[redacted]"]}"#),
        (r#"{"password": [ "a b", 1]}"#, r#"{"password": [ "[redacted]", 1]}"#),
        ("token: Bearer abcdef", "token: Bearer [redacted]"),
        ("accessToken: abcdef", "accessToken: [redacted]"),
    ];
    for (text, expected) in table {
        assert_eq!(redact(text), expected, "{text}");
    }
}

#[test]
fn what_a_program_takes_as_a_secret_is_taken_out() {
    let table = [
        ("lk --password hunter2 x", "lk --password [redacted] x"),
        ("lk --password=hunter2 x", "lk --password=[redacted] x"),
        ("lk --token abcdef x", "lk --token [redacted] x"),
        ("lk --auth-token 'a b c' x", "lk --auth-token '[redacted]' x"),
        (r#"["--api-key","abcdef","x"]"#, r#"["--api-key","[redacted]","x"]"#),
        ("curl -u ada:hunter2 https://x", "curl -u ada:[redacted] https://x"),
        ("curl -sSu ada:hunter2 https://x", "curl -sSu ada:[redacted] https://x"),
        ("curl --user 'ada:a b' https://x", "curl --user 'ada:[redacted]' https://x"),
        (
            r#"{"command":"curl \"https://x?a&b\" -u \"ada:a b\""}"#,
            r#"{"command":"curl \"https://x?a&b\" -u \"ada:[redacted]\""}"#,
        ),
        (
            "curl -H 'Authorization: Bearer abcdef0123456789' -u a:b c",
            "curl -H 'Authorization: Bearer [redacted]' -u a:[redacted] c",
        ),
        ("sshpass -p hunter2 ssh x", "sshpass -p [redacted] ssh x"),
        ("sshpass -p 'hunter 2' ssh x", "sshpass -p '[redacted]' ssh x"),
        ("mysql -u root -phunter2 db", "mysql -u root -p[redacted] db"),
        ("redis-cli -h x -a hunter2 ping", "redis-cli -h x -a [redacted] ping"),
        ("docker login -u ada -p hunter2 x", "docker login -u ada -p [redacted] x"),
        (
            "curl -H 'Authorization: Bearer abc.def-ghi_jkl012' x",
            "curl -H 'Authorization: Bearer [redacted]' x",
        ),
        ("curl -H 'Authorization: token abcdef' x", "curl -H 'Authorization: token [redacted]' x"),
        ("curl -H 'authorization: abcdef0123456789' x", "curl -H 'authorization: [redacted]' x"),
        ("the header Basic YWRhOmh1bnRlcjI=", "the header Basic [redacted]"),
    ];
    for (text, expected) in table {
        assert_eq!(redact(text), expected, "{text}");
    }
}

#[test]
fn what_stands_before_a_host_is_taken_out() {
    let table = [
        (
            "git clone https://ada:hunter2@example.com/x.git",
            "git clone https://ada:[redacted]@example.com/x.git",
        ),
        ("HTTPS://ada:hunter2@example.com", "HTTPS://ada:[redacted]@example.com"),
        ("https://ada:p@ss/wo@example.com/x", "https://ada:[redacted]@example.com/x"),
        ("https://ada:p/a?b#c@example.com/x", "https://ada:[redacted]@example.com/x"),
        ("postgres://ada:1234@db/x", "postgres://ada:[redacted]@db/x"),
        ("redis://:hunter2@db", "redis://:[redacted]@db"),
        ("https://abcdefghijklmnop_0123@github.com/x", "https://[redacted]@github.com/x"),
        ("https://abcdefghijklmnop0123:x-oauth-basic@github.com", "https://[redacted]@github.com"),
        ("http://localhost:8080/?token=abcdef@x", "http://localhost:8080/?token=[redacted]"),
    ];
    for (text, expected) in table {
        assert_eq!(redact(text), expected, "{text}");
    }
}

#[test]
fn tokens_are_known_by_their_form() {
    let letters = "0123456789abcdef0123456789abcdef";
    let tokens = [
        "sk-ant-api03-abcdefghijklmnop".to_owned(),
        "ghp_0123456789abcdefghijABCDEFGHIJ012345".to_owned(),
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln".to_owned(),
        format!("xapp-1-{letters}"),
        format!("hf_{letters}"),
        format!("SG.{letters}.{letters}"),
        format!("shpat_{letters}"),
        format!("dop_v1_{letters}"),
        format!("AGE-SECRET-KEY-1{}", letters.to_uppercase()),
    ];
    for token in tokens {
        assert_eq!(redact(&format!("echo {token} x")), "echo [redacted] x");
        // Behind the end of a line in JSON.
        assert_eq!(redact(&format!(r#"{{"content":"a\n{token}\nb"}}"#)), r#"{"content":"a\n[redacted]\nb"}"#);
    }
    let hook = "https://hooks.slack.com/services/T000/B000/abcdef";
    assert_eq!(redact(hook), "https://hooks.slack.com/services/[redacted]");
    let azure = format!("AccountName=x;AccountKey={letters}==;EndpointSuffix=y");
    assert_eq!(redact(&azure), "AccountName=x;AccountKey=[redacted];EndpointSuffix=y");
}

#[test]
fn a_private_key_is_taken_out_to_its_end() {
    let table = [
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nend", "[redacted]\nend"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "[redacted]"),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQ\n-----END PGP PRIVATE KEY BLOCK-----\nend",
            "[redacted]\nend",
        ),
        (
            r#"{"private_key": "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n", "id": 1}"#,
            r#"{"private_key": "[redacted]", "id": 1}"#,
        ),
        ("private_key=-----BEGIN PRIVATE KEY-----\nMIIE", "private_key=[redacted]"),
        (
            "PRIVATE_KEY='-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----' x",
            "PRIVATE_KEY='[redacted]' x",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(redact(text), expected, "{text}");
    }
}

#[test]
fn ordinary_commands_and_code_stay_as_they_are() {
    let table = [
        "cargo test --workspace -- --nocapture token",
        "cargo run --features secret-service -- --max-tokens 4096",
        "git clone git@github.com:ada/password-store.git && git log --format='%h: %s'",
        "git clone https://github.com/ada/x.git",
        "git push -u origin main:main",
        "git config credential.helper store",
        "curl -fsSL -o x https://example.com:8443/a/@b?page=2&size=10",
        "curl -X POST -d '{\"a\":1}' http://localhost:8080/users/@me",
        "curl -H \"x: $TOKEN\" && token=$(cat f)",
        "curl -H \"Authorization: Bearer $TOKEN\" -u $USER:$PASS https://x",
        "git clone https://ada:${PASS}@example.com/x.git",
        "npm install http://registry:4873/@scope/package",
        "docker run -u 1000:1000 -v /etc/passwd:/etc/passwd:ro -p 8080:80 x",
        "docker login --username ada --password-stdin example.com",
        "docker build --secret id=npm,src=.npmrc .",
        "kubectl get secret x -o yaml | grep password",
        "ssh -p 2222 ada@login.example.com",
        "TOKEN=\"$OTHER\" PASSWORD=${OTHER} API_KEY='$X' make",
        ": ${TOKEN:?has to be set}",
        "lk --token $TOKEN --password \"$PASSWORD\" --token --verbose",
        "gh auth login --with-token < file",
        "echo x > token_file; cat token; export TOKEN_FILE=/run/token",
        "grep -rn 'token: ' src && echo 'x'",
        "token_count = 50000; max_tokens: 4096; token_limit=100000",
        "token = 5; tokens: many; the tokenizer counts tokens: many",
        "let token = lexer.next_token(); let secret = Secret::of(x);",
        "fn login(token: &str, password: String, secret: Option<Secret>) -> Token",
        "type A = { token: string; password?: string, secret: null }",
        "token = os.environ[\"TOKEN\"]",
        "match token { Token::Ident(name) => Token::Number }",
        "basic understanding of bearer authentication",
        r#"{"command":"ls -la","description":"list the tokens"}"#,
        r#"{"old_string":"token=","new_string":"password=","file_path":"/x"}"#,
        r#"{"query":"password:","path":"src/lib.rs"}"#,
        "mysql -u root -p db < dump.sql",
        "sshpass -p \"$PW\" ssh x && curl -u \"ada:$PW\" https://x",
        "sudo -u postgres psql postgres://localhost:5432/x",
    ];
    for text in table {
        assert_eq!(redact(text), text);
    }
}

/// Texts of what the expressions look for, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "password",
        "token",
        "authorization",
        "--token ",
        "=",
        ":",
        " ",
        "\"",
        "\\\"",
        "'",
        "\\n",
        "\n",
        "[",
        "$",
        "${",
        "(",
        ",",
        "&",
        "@",
        "://",
        "https",
        "a:b",
        "abcd",
        "abcdefghijklmnop",
        "AKIAIOSFODNN7EXAMPLE",
        "sk-0123456789abcdefghij",
        "Bearer ",
        "basic ",
        "curl ",
        " -u ",
        "sshpass -p ",
        "mysql ",
        " -p",
        "-",
        "/",
        "_file",
        "8080",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "[redacted]",
        "AccountKey=",
    ]);
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn redacting_twice_changes_nothing_more(text in r"[ -~\n]{0,80}") {
        let once = redact(&text).into_owned();
        prop_assert_eq!(redact(&once).into_owned(), once);
    }

    #[test]
    fn nor_does_it_where_much_looks_like_a_secret(text in pieces()) {
        let once = redact(&text).into_owned();
        prop_assert_eq!(redact(&once).into_owned(), once);
    }

    #[test]
    fn a_token_of_a_known_form_does_not_stay_wherever_it_stands(before in pieces(), after in pieces()) {
        let token = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        let text = format!("{before} {token} {after}");
        prop_assert!(!redact(&text).contains(token), "{text}");
    }
}
