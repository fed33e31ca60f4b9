//! The server that redirects are compared with: actix, one handler, the same headers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use actix_web::{App, HttpResponse, HttpServer, web};

use crate::demo::Process;
use crate::http::Answer;

/// A bare server in a process of its own.
pub struct Bare {
    pub process: Process,
    pub host: String,
}

impl Bare {
    /// Starts one that gives every request an answer like this one.
    pub fn start(like: &Answer) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
            .arg("--bare")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bare server starts");
        let mut input = child.stdin.take().expect("its input is a pipe");
        for (name, value) in like.headers() {
            // actix writes these two itself.
            if !["date", "content-length"].contains(&name) {
                writeln!(input, "{name}: {value}").expect("it takes the headers");
            }
        }
        drop(input);
        let mut host = String::new();
        let output = child.stdout.take().expect("its output is a pipe");
        let process = Process::new(child);
        BufReader::new(output).read_line(&mut host).expect("it says where it listens");
        Self { process, host: host.trim().to_owned() }
    }
}

/// The child's side: headers come on the standard input, the address goes to the output.
pub fn serve() {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).expect("the headers can be read");
    let headers: Vec<(String, String)> = input
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let headers = web::Data::new(headers);
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            App::new().app_data(headers.clone()).default_service(web::to(
                |headers: web::Data<Vec<(String, String)>>| async move {
                    let mut answer = HttpResponse::Found();
                    for (name, value) in headers.iter() {
                        answer.append_header((name.as_str(), value.as_str()));
                    }
                    answer.finish()
                },
            ))
        })
        .bind(("127.0.0.1", 0))
        .expect("a port is free");
        println!("{}", server.addrs().first().expect("it has an address"));
        server.run().await.expect("the bare server runs");
    });
}
