//! Reads Rust source as far as the tidy rules need it: code without comments and texts, tokens, paths.
//!
//! Why: a rule that searches raw text trips over comments, and a rule that people trip over is switched off.
//! Must not know: the rules.

/// One file of the tree.
pub struct Source {
    /// Path from the package's root, with `/`.
    pub path: String,
    /// The text as it stands.
    pub raw: String,
    /// The tokens of the code outside comments, texts and `#[cfg(test)]` items.
    pub tokens: Vec<Token>,
}

/// A word, `::`, or one punctuation character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// From 1.
    pub line: usize,
}

/// One path, as in `crate::gate::Gate`, with every brace of a `use` resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub names: Vec<String>,
    pub line: usize,
}

/// One function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    /// From `fn` to the closing brace.
    pub lines: usize,
}

impl Source {
    pub fn new(path: &str, raw: &str) -> Self {
        let tokens = without_test_items(&tokens(&code_only(raw)));
        Self { path: path.to_owned(), raw: raw.to_owned(), tokens }
    }

    /// The leading `//!` lines.
    pub fn header(&self) -> String {
        self.raw.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n")
    }

    /// The room a file under `src/` belongs to: its first folder, or its own name.
    pub fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split_once('/').map_or_else(|| inside.trim_end_matches(".rs"), |(room, _)| room))
    }

    /// Whether `super` is the crate's root here.
    pub fn is_room_root(&self) -> bool {
        let inside = self.path.strip_prefix("src/").unwrap_or("");
        !inside.contains('/') || (inside.matches('/').count() == 1 && inside.ends_with("/mod.rs"))
    }

    /// Every path of two or more names.
    pub fn paths(&self) -> Vec<Path> {
        let mut out = Vec::new();
        for (i, token) in self.tokens.iter().enumerate() {
            let starts = is_word(&token.text) && self.at(i + 1) == "::" && (i == 0 || self.at(i - 1) != "::");
            if starts && !self.inside_use_braces(i) {
                self.tree(i, &mut Vec::new(), &mut out);
            }
        }
        out
    }

    /// Every function with a body, nested ones too.
    pub fn functions(&self) -> Vec<Function> {
        let starts = self.tokens.iter().enumerate().filter(|(i, t)| t.text == "fn" && is_word(self.at(i + 1)));
        starts.filter_map(|(i, t)| self.function(i, t.line)).collect()
    }

    fn function(&self, fn_at: usize, line: usize) -> Option<Function> {
        let end_of_head = (fn_at..self.tokens.len()).find(|&i| matches!(self.at(i), "{" | ";"))?;
        // `[u8; 4]` in a signature is no end of it.
        let open = (end_of_head..self.tokens.len()).find(|&i| self.at(i) == "{" || self.ends_item(fn_at, i))?;
        if self.at(open) != "{" {
            return None;
        }
        let close = closing(&self.tokens, open)?;
        Some(Function { name: self.at(fn_at + 1).to_owned(), line, lines: self.tokens[close].line - line + 1 })
    }

    /// Whether the `;` at `i` stands outside every bracket opened since `from`.
    fn ends_item(&self, from: usize, i: usize) -> bool {
        let count = |set: [&str; 2]| self.tokens[from..i].iter().filter(|t| set.contains(&t.text.as_str())).count();
        self.at(i) == ";" && count(["(", "["]) == count([")", "]"])
    }

    /// The token at `i`, or nothing beyond the end.
    pub fn at(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |t| t.text.as_str())
    }

    /// Whether a `use` tree's brace holds token `i`: such names are read from the tree's root.
    fn inside_use_braces(&self, i: usize) -> bool {
        let mut depth = 0_usize;
        for back in (0..i).rev() {
            match self.at(back) {
                "}" => depth += 1,
                "{" if depth > 0 => depth -= 1,
                "{" => return back > 0 && self.at(back - 1) == "::",
                ";" if depth == 0 => return false,
                _ => {}
            }
        }
        false
    }

    /// Reads `a::b`, `a::{b, c::d}`, `a::*` from `i`; returns where it ends.
    fn tree(&self, mut i: usize, prefix: &mut Vec<String>, out: &mut Vec<Path>) -> usize {
        let (line, depth) = (self.tokens.get(i).map_or(0, |t| t.line), prefix.len());
        loop {
            match self.at(i) {
                "{" => {
                    i += 1;
                    while !matches!(self.at(i), "}" | "") {
                        i = if self.at(i) == "," { i + 1 } else { self.tree(i, prefix, out) };
                    }
                    prefix.truncate(depth);
                    return i + 1;
                }
                name if is_word(name) || name == "*" => prefix.push(name.to_owned()),
                _ => {}
            }
            i += 1;
            if self.at(i) != "::" {
                break;
            }
            i += 1;
            // A turbofish ends the path as far as the rules care.
            if self.at(i) == "<" {
                break;
            }
        }
        out.push(Path { names: prefix.clone(), line });
        prefix.truncate(depth);
        // `as other` belongs to the leaf.
        if self.at(i) == "as" { i + 2 } else { i }
    }
}

pub fn is_word(s: &str) -> bool {
    s.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The index of the brace that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => return Some(i),
            "}" => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Leaves out what `#[cfg(test)]` stands before: up to the item's `;` or closing brace.
fn without_test_items(tokens: &[Token]) -> Vec<Token> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut out = Vec::with_capacity(tokens.len());
    let mut i = 0;
    while i < tokens.len() {
        let here = tokens[i..].iter().map(|t| t.text.as_str()).take(attribute.len());
        if here.eq(attribute) {
            let end = (i..tokens.len()).find(|&j| matches!(tokens[j].text.as_str(), "{" | ";"));
            let end = end.and_then(|j| if tokens[j].text == "{" { closing(tokens, j) } else { Some(j) });
            i = end.map_or(tokens.len(), |j| j + 1);
        } else {
            out.push(tokens[i].clone());
            i += 1;
        }
    }
    out
}

fn tokens(code: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for (n, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let len = match first {
                c if word(c) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
                // A lifetime is one token, so that `'static` is not the word `static`.
                '\'' => 1 + rest[1..].find(|c| !word(c)).unwrap_or(rest.len() - 1),
                ':' if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            out.push(Token { text: rest[..len].to_owned(), line: n + 1 });
            rest = rest[len..].trim_start();
        }
    }
    out
}

/// The text with every comment, text and character blanked; lines stay where they are.
fn code_only(raw: &str) -> String {
    let chars: Vec<char> = raw.chars().collect();
    let mut out = String::with_capacity(raw.len());
    let mut i = 0;
    while i < chars.len() {
        let end = blank_end(&chars, i);
        if end == i {
            out.push(chars[i]);
            i += 1;
        } else {
            out.extend(chars[i..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            i = end;
        }
    }
    out
}

/// Where the comment, text or character that starts at `i` ends; `i` itself if none does.
fn blank_end(chars: &[char], i: usize) -> usize {
    let at = |n: usize| chars.get(n).copied().unwrap_or('\0');
    let inside_word = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
    match (at(i), at(i + 1)) {
        ('/', '/') => (i..chars.len()).find(|&n| at(n) == '\n').unwrap_or(chars.len()),
        ('/', '*') => block_comment_end(chars, i),
        ('"', _) => quoted_end(chars, i),
        ('b', '"') if !inside_word => quoted_end(chars, i + 1),
        ('r', '"' | '#') if !inside_word => raw_text_end(chars, i, i + 1),
        ('b', 'r') if !inside_word => raw_text_end(chars, i, i + 2),
        ('\'', '\\') => (i + 3..chars.len()).find(|&n| at(n) == '\'').map_or(chars.len(), |n| n + 1),
        ('\'', _) if at(i + 2) == '\'' => i + 3,
        _ => i,
    }
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0_usize, start);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') if depth == 1 => return i + 2,
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], quote: usize) -> usize {
    let mut i = quote + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// `hashes` is where the hashes of `r#"` begin. `r#word` is no text.
fn raw_text_end(chars: &[char], start: usize, hashes: usize) -> usize {
    let count = chars[hashes.min(chars.len())..].iter().take_while(|c| **c == '#').count();
    if chars.get(hashes + count) != Some(&'"') {
        return start;
    }
    let closes =
        |n: &usize| chars[*n] == '"' && chars[n + 1..].iter().take(count).filter(|c| **c == '#').count() == count;
    let body = hashes + count + 1;
    (body..chars.len()).find(closes).map_or(chars.len(), |n| n + 1 + count)
}
