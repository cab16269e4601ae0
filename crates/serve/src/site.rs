//! One request's answer.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONNECTION, CONTENT_TYPE,
    HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use tower_http::services::ServeDir;
use tower_http::services::fs::DefaultServeDirFallback;

use crate::Options;
use crate::beneath::Beneath;

/// What answers carry.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// The page for what is not there, if the directory has it, as in PM2.
const NOT_FOUND_PAGE: &str = "/404.html";
const HTML: HeaderValue = HeaderValue::from_static("text/html");

/// The directory and the rules by which it is shown.
#[derive(Debug)]
pub(crate) struct Site {
    options: Options,
    files: ServeDir<DefaultServeDirFallback, Beneath>,
    /// Every answer is the last one on its connection.
    pub(crate) is_leaving: Cell<bool>,
}

impl Site {
    pub(crate) fn new(options: Options) -> Self {
        let beneath = Beneath { root: options.root.clone() };
        if let Err(error) = beneath.check() {
            // It may come yet; a link that is being replaced, say.
            eprintln!("{}: {error}; nothing is found until it is there", options.root.display());
        }
        let files = ServeDir::with_backend("", beneath).precompressed_br().precompressed_gzip();
        Self { options, files, is_leaving: Cell::new(false) }
    }

    /// The answer to a request; what it carries is not looked at.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<Body> {
        let mut response = if self.admits(&request) {
            self.find(&Asked::of(request)).await
        } else {
            let mut refusal = said(StatusCode::UNAUTHORIZED, "401 Unauthorized");
            let realm = HeaderValue::from_static("Basic realm=\"Authentication service\"");
            refusal.headers_mut().insert(WWW_AUTHENTICATE, realm);
            refusal
        };
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
        if self.is_leaving.get() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn admits<B>(&self, request: &Request<B>) -> bool {
        let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        self.options.credentials.as_ref().is_none_or(|credentials| credentials.admits(header))
    }

    /// The file; else, for a single-page application, the file of that name at the top, then the home page (PM2's
    /// order); else the page for what is not there.
    async fn find(&self, asked: &Asked) -> Response<Body> {
        let path = asked.uri.path();
        let is_home = path == "/" || path.is_empty();
        let first = if is_home { self.options.homepage.as_str() } else { path };
        let found = self.file(asked, first).await;
        if found.status() != StatusCode::NOT_FOUND {
            return found;
        }
        if self.options.spa && !is_home {
            let name = path.rfind('/').map_or(path, |slash| &path[slash..]);
            for instead in [name, self.options.homepage.as_str()] {
                if instead == path || instead == "/" {
                    continue;
                }
                let found = self.file(asked, instead).await;
                if found.status() != StatusCode::NOT_FOUND {
                    return found;
                }
            }
        }
        let mut page = self.file(&asked.plain(), NOT_FOUND_PAGE).await;
        if page.status() == StatusCode::OK {
            *page.status_mut() = StatusCode::NOT_FOUND;
            return page;
        }
        said(StatusCode::NOT_FOUND, "404 Not Found")
    }

    async fn file(&self, asked: &Asked, path: &str) -> Response<Body> {
        let Some(request) = asked.at(path) else { return said(StatusCode::NOT_FOUND, "404 Not Found") };
        match self.files.clone().try_call(request).await {
            Ok(response) => response.map(|body| body.map_err(io::Error::other).boxed_unsync()),
            Err(error) => trouble(path, &error),
        }
    }
}

/// A request without what it carries: all that finding a file needs.
struct Asked {
    method: Method,
    uri: Uri,
    headers: hyper::HeaderMap,
}

impl Asked {
    fn of<B>(request: Request<B>) -> Self {
        let (parts, _) = request.into_parts();
        Self { method: parts.method, uri: parts.uri, headers: parts.headers }
    }

    /// Without conditions and ranges, which are about another file.
    fn plain(&self) -> Self {
        Self { method: self.method.clone(), uri: self.uri.clone(), headers: hyper::HeaderMap::new() }
    }

    fn at(&self, path: &str) -> Option<Request<Empty<Bytes>>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = if path == self.uri.path() { self.uri.clone() } else { path.parse().ok()? };
        *request.headers_mut() = self.headers.clone();
        Some(request)
    }
}

fn trouble(path: &str, error: &io::Error) -> Response<Body> {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied) {
        return said(StatusCode::NOT_FOUND, "404 Not Found");
    }
    eprintln!("{path} cannot be served: {error}");
    said(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error")
}

fn said(status: StatusCode, text: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(body.map_err(|never: Infallible| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HTML);
    response
}
