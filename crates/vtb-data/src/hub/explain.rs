//! A refusal in words: what is wrong with the name, the revision or the token, and what was probably meant.

use serde::Deserialize;

use super::error::{HubError, nearest};
use super::name::{Kind, Repo};
use super::patience::{Failure, Refusal};
use super::{Hub, Watch, address};

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
}

#[derive(Deserialize)]
struct Refs {
    #[serde(default)]
    branches: Vec<Named>,
    #[serde(default)]
    tags: Vec<Named>,
}

impl Hub {
    /// The error that a person reads. May ask the hub for names to suggest, once each.
    pub(super) fn explained(&self, repo: &Repo, failure: Failure, watch: &dyn Watch) -> HubError {
        let refusal = match failure {
            Failure::Hub(fault) => return fault,
            Failure::Refused(refusal) => refusal,
        };
        match (refusal.status, refusal.code.as_str()) {
            (_, "GatedRepo") => HubError::Gated {
                repo: repo.id().to_owned(),
                page: self.page(repo),
                token: self.client.token_note(),
            },
            (_, "RevisionNotFound") => self.no_revision(repo, watch),
            (_, "RepoNotFound") => self.no_repository(repo, watch),
            (_, "EntryNotFound") => HubError::Unusable {
                repo: repo.to_string(),
                reason: format!("does not hold a file that it lists ({})", refusal.address),
            },
            (404, _) => match self.exists(repo, watch) {
                true => self.no_revision(repo, watch),
                false => self.no_repository(repo, watch),
            },
            (401 | 403 | 407 | 451, _) => self.denied(repo, refusal),
            (status, _) => HubError::Answer {
                address: refusal.address.clone(),
                reason: format!("status {status}{}", after_colon(&refusal.message)),
            },
        }
    }

    fn page(&self, repo: &Repo) -> String {
        let endpoint = &self.client.settings().endpoint;
        format!("{endpoint}/{}{}", repo.kind().prefix(), repo.id())
    }

    fn denied(&self, repo: &Repo, refusal: Refusal) -> HubError {
        HubError::Denied {
            repo: repo.id().to_owned(),
            status: refusal.status,
            message: after_colon(&refusal.message),
            token: self.client.token_note(),
        }
    }

    fn exists(&self, repo: &Repo, watch: &dyn Watch) -> bool {
        let found = self
            .client
            .json::<serde_json::Value>(&self.api(repo), 1, watch);
        found.is_ok()
    }

    fn no_revision(&self, repo: &Repo, watch: &dyn Watch) -> HubError {
        let url = format!("{}/refs", self.api(repo));
        let refs = self.client.json::<Refs>(&url, 1, watch).ok();
        let names: Vec<String> = refs
            .into_iter()
            .flat_map(|(refs, _)| refs.branches.into_iter().chain(refs.tags))
            .map(|named| named.name)
            .collect();
        let known = names.iter().map(String::as_str);
        let hint = nearest(repo.revision(), known).unwrap_or_else(|| {
            format!(
                "its branches and tags are listed at {}/tree/main",
                self.page(repo)
            )
        });
        HubError::NoRevision {
            repo: repo.id().to_owned(),
            revision: repo.revision().to_owned(),
            hint,
        }
    }

    fn no_repository(&self, repo: &Repo, watch: &dyn Watch) -> HubError {
        let other = match repo.kind() {
            Kind::Model | Kind::Pipeline | Kind::AnyModel | Kind::Adapter => Kind::Dataset,
            Kind::Dataset => Kind::Model,
        };
        let sibling = Repo::parse(other, repo.id()).ok();
        let mut hints = Vec::new();
        if sibling.is_some_and(|sibling| self.exists(&sibling, watch)) {
            hints.push(format!("there is a {} of that name", other.noun()));
        } else {
            hints.extend(self.alike(repo, watch));
        }
        hints.push(format!("where it is private: {}", self.client.token_note()));
        HubError::NoRepository {
            repo: repo.id().to_owned(),
            endpoint: self.client.settings().endpoint.clone(),
            what: repo.kind().noun(),
            hint: hints.join("; "),
        }
    }

    /// Names like this one, on the hub and in the cache.
    fn alike(&self, repo: &Repo, watch: &dyn Watch) -> Option<String> {
        let (_, name) = repo.id().split_once('/')?;
        let endpoint = &self.client.settings().endpoint;
        let (plural, search) = (repo.kind().plural(), address::part(name));
        let url = format!("{endpoint}/api/{plural}?search={search}&limit=20");
        let found = self.client.json::<Vec<Listed>>(&url, 1, watch).ok();
        let mut names = self.cache.names(repo);
        names.extend(
            found
                .into_iter()
                .flat_map(|(list, _)| list)
                .map(|listed| listed.id),
        );
        nearest(repo.id(), names.iter().map(String::as_str))
    }
}

fn after_colon(message: &str) -> String {
    match message.is_empty() {
        true => String::new(),
        false => format!(": {message}"),
    }
}
