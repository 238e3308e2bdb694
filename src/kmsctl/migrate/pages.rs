//! Lists of metadata, page by page. No object's content is asked for. An annotation may repeat it (that of `kubectl
//! apply` does): annotations are not read, and the allocator wipes the response.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::kmsctl::cluster::{Call, Failure, Retries};

const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// How often a list is begun again whose state of the beginning is gone and that says nothing of how to go
/// on.
const MAX_RESTARTS: u32 = 5;
/// RFC 3986's unreserved characters, and the colon of names of roles, are left as they are.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

/// The metadata of an object, as far as a write needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    /// Its namespace; empty if it has none.
    #[serde(default)]
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// Tells it from an earlier one of the same name.
    #[serde(default)]
    pub(super) uid: String,
    /// Tells this state of it from another.
    #[serde(default)]
    pub(super) resource_version: String,
}

/// A page of a list.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Its objects.
    pub(super) objects: Vec<Metadata>,
    /// Where the next one begins; empty after the last.
    pub(super) next: String,
    /// How many objects follow, as far as kube-apiserver knows.
    pub(super) remaining: Option<u64>,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMetadata,
    /// `null` if there are none.
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ListMetadata {
    #[serde(rename = "continue")]
    token: String,
    remaining_item_count: Option<u64>,
}

/// Where a list is.
#[derive(Debug)]
pub(super) struct Pages<'a> {
    retries: &'a Retries,
    path: String,
    size: u32,
    /// `None` after the last page.
    next: Option<String>,
    restarts: u32,
}

impl<'a> Pages<'a> {
    /// Lists what is at `path`, from the beginning or after `token`.
    pub(super) fn new(retries: &'a Retries, path: String, size: u32, token: String) -> Self {
        Self {
            retries,
            path,
            size,
            next: Some(token),
            restarts: 0,
        }
    }

    /// The next page; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, Failure> {
        loop {
            let Some(token) = self.next.clone() else {
                return Ok(None);
            };
            match page(
                self.retries,
                &self.path,
                &format!("limit={}", self.size),
                &token,
            )
            .await
            {
                Ok(page) => {
                    self.next = Some(page.next.clone()).filter(|next| !next.is_empty());
                    return Ok(Some(page));
                }
                // etcd no longer has the state of the first page: the list goes on at the state of now. Whoever
                // was created before that place meanwhile was written by the current key.
                Err(Failure::Refused(status)) if status.code == 410 && !token.is_empty() => {
                    self.restarts += 1;
                    if self.restarts > MAX_RESTARTS && status.metadata.token.is_empty() {
                        return Err(Failure::Refused(status));
                    }
                    self.next = Some(status.metadata.token);
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// The object of this name as it is now; `None` if it is gone. A list, since whoever may list and patch need
/// not be allowed to get.
pub(super) async fn one(
    retries: &Retries,
    path: &str,
    name: &str,
) -> Result<Option<Metadata>, Failure> {
    let query = format!("fieldSelector=metadata.name%3D{}", encoded(name));
    Ok(page(retries, path, &query, "").await?.objects.pop())
}

async fn page(retries: &Retries, path: &str, query: &str, token: &str) -> Result<Page, Failure> {
    let path = format!("{path}?{query}&continue={}", encoded(token));
    let path = path.trim_end_matches("&continue=");
    let answer = retries.send(&Call::get(path).accept(METADATA_LIST)).await?;
    let list: List = answer
        .json()
        .map_err(|error| Failure::Unavailable(error.diagnosis(&retries.cluster.address())))?;
    Ok(Page {
        objects: list
            .items
            .into_iter()
            .flatten()
            .map(|item| item.metadata)
            .collect(),
        next: list.metadata.token,
        remaining: list.metadata.remaining_item_count,
    })
}

/// A text as a part of a URL.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_has_no_items() {
        let json = r#"{"kind":"PartialObjectMetadataList","metadata":{"resourceVersion":"7"},"items":null}"#;
        let list: List = serde_json::from_str(json).expect("JSON");
        assert!(list.items.is_none() && list.metadata.token.is_empty());
    }

    #[test]
    fn names_are_parts_of_urls() {
        assert_eq!(encoded("system:node-1.a_b"), "system:node-1.a_b");
        assert_eq!(encoded("a/b?c"), "a%2Fb%3Fc");
    }
}
