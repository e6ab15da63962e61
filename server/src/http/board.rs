//! The live board's files, carried by the binary.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

/// A file of `clients/board`.
struct Asset {
    path: &'static str,
    kind: &'static str,
    tag: &'static str,
    bytes: &'static [u8],
}

/// Written by the build script.
static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/board.rs"));

/// One route a file, and `/` for the page itself.
pub fn router() -> Router {
    let mut router = Router::new();
    for asset in ASSETS {
        let answer = move |headers: HeaderMap| async move { asset.answer(&headers) };
        router = router.route(asset.path, get(answer));
        if asset.path == "/index.html" {
            router = router.route("/", get(answer));
        }
    }
    router
}

impl Asset {
    /// Browsers ask each time and are told 304 while the file is the same, so a new binary shows at
    /// once.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let head = [(header::ETAG, self.tag), (header::CACHE_CONTROL, "no-cache")];
        let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == self.tag)) {
            return (StatusCode::NOT_MODIFIED, head).into_response();
        }
        let body = Body::from(Bytes::from_static(self.bytes));
        (head, [(header::CONTENT_TYPE, self.kind)], body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn the_page_is_served_and_revalidated() {
        let ask = |tag: &str| {
            let request = Request::get("/").header(header::IF_NONE_MATCH, tag);
            router().oneshot(request.body(Body::empty()).unwrap())
        };
        let first = ask("\"other\"").await.unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        assert_eq!(ask(tag).await.unwrap().status(), StatusCode::NOT_MODIFIED);
    }
}
