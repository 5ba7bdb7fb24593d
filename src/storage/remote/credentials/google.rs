//! Credentials for `gs://`.

use std::path::Path;

use object_store::gcp::GoogleConfigKey as Key;

use super::{Choice, Cloud, Credentials, Environment, read_json};

/// The supported types of credential files.
const SUPPORTED_TYPES: [&str; 2] = ["service_account", "authorized_user"];

/// Finds the credentials for `bucket`.
pub(in super::super) fn find(bucket: &str, env: &Environment) -> Result<Credentials<Key>, String> {
    let mut settings: Vec<(Key, String)> = env.settings("GOOGLE_");
    let has_base = env.has_any(&["GOOGLE_BASE_URL"]);
    let emulator = env.get("STORAGE_EMULATOR_HOST").filter(|_| !has_base);
    if let Some(host) = emulator {
        let url = if host.contains("://") {
            host.to_owned()
        } else {
            format!("http://{host}")
        };
        settings.push((Key::BaseUrl, url.trim_end_matches('/').to_owned()));
    }
    let mut from_file = |file: &Path| {
        settings.retain(|(key, _)| !is_credential(*key));
        let path = file.display().to_string();
        settings.push((Key::ApplicationCredentials, path));
        Choice::with(format!("with the credentials in {}", file.display()))
    };
    let choice = if env.is_true("GOOGLE_SKIP_SIGNATURE") {
        Choice::anonymous("GOOGLE_SKIP_SIGNATURE is set")
    } else if let Some(file) = env.secret(&format!("{bucket}-google-secret.json")) {
        check(&file)?;
        from_file(&file)
    } else if let Some(description) = from_environment(env)? {
        Choice::with(description)
    } else if let Some(file) = env.secret("google-secret.json") {
        check(&file)?;
        from_file(&file)
    } else {
        let defaults = env.file("CLOUDSDK_CONFIG", ".config/gcloud");
        let defaults = defaults.map(|folder| folder.join("application_default_credentials.json"));
        match defaults.filter(|file| file.is_file()) {
            Some(file) => match check(&file) {
                Ok(()) => from_file(&file),
                Err(problem) => Choice::anonymous(problem),
            },
            None if has_identity(env) => {
                Choice::with("with the account of this machine (Google Cloud metadata)")
            }
            None => Choice::anonymous("none were found"),
        }
    };
    if choice.anonymous {
        settings.push((Key::SkipSignature, "true".into()));
    }
    Ok(Credentials { settings, choice })
}

/// The project that pays for requests, from the environment.
pub(in super::super) fn billing_project(env: &Environment) -> Option<&str> {
    env.get("GOOGLE_CLOUD_QUOTA_PROJECT")
}

/// Whether the setting has credentials.
fn is_credential(key: Key) -> bool {
    matches!(
        key,
        Key::ServiceAccount
            | Key::ServiceAccountKey
            | Key::ApplicationCredentials
            | Key::BearerToken
    )
}

/// The description of the credentials in environment variables, if there are any.
fn from_environment(env: &Environment) -> Result<Option<String>, String> {
    const NAMES: [&str; 5] = [
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_BEARER_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ];
    let Some(name) = NAMES.into_iter().find(|name| env.get(name).is_some()) else {
        return Ok(None);
    };
    let value = env.get(name).unwrap_or_default();
    Ok(Some(match name {
        "GOOGLE_APPLICATION_CREDENTIALS" => {
            check(Path::new(value))?;
            format!("with the credentials in {value} ({name})")
        }
        _ => format!("with the credentials in the environment ({name})"),
    }))
}

/// Checks that the file's credentials have a supported type.
fn check(file: &Path) -> Result<(), String> {
    let json = read_json(file)?;
    match json.get("type").and_then(|kind| kind.as_str()) {
        Some(kind) if SUPPORTED_TYPES.contains(&kind) => Ok(()),
        kind => Err(format!(
            "{} has credentials of type `{}`; supported types: {}",
            file.display(),
            kind.unwrap_or_default(),
            SUPPORTED_TYPES.join(", ")
        )),
    }
}

/// Whether the machine probably has an account in its cloud. Sends no request.
fn has_identity(env: &Environment) -> bool {
    const VARIABLES: [&str; 4] = [
        "GCE_METADATA_HOST",
        "GCE_METADATA_ROOT",
        "GCE_METADATA_IP",
        // Cloud Run.
        "K_SERVICE",
    ];
    let in_cloud = env.has_any(&VARIABLES) || env.machine == Some(Cloud::Google);
    in_cloud && !env.is_true("NO_GCE_CHECK")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{environment, home, in_google};
    use super::*;

    const USER: &str = r#"{"type": "authorized_user", "refresh_token": "hidden"}"#;
    const ACCOUNT: &str = r#"{"type": "service_account", "private_key": "hidden"}"#;
    const FEDERATED: &str = r#"{"type": "external_account"}"#;
    const DEFAULT: &str = ".config/gcloud/application_default_credentials.json";

    fn choice(home: &Path, vars: &[(&str, &str)]) -> String {
        let found = find("vnc", &environment(home, vars)).unwrap();
        assert!(!found.choice.description.contains("hidden"));
        found.choice.description
    }

    #[test]
    fn access_is_anonymous_without_credentials() {
        let home = home(&[]);
        let env = environment(home.path(), &[]);
        let found = find("vnc", &env).unwrap();
        assert_eq!(found.choice, Choice::anonymous("none were found"));
        assert_eq!(found.settings, [(Key::SkipSignature, "true".to_owned())]);
        let env = in_google(env);
        assert!(!find("vnc", &env).unwrap().choice.anonymous);
        let off = in_google(environment(home.path(), &[("NO_GCE_CHECK", "true")]));
        assert!(find("vnc", &off).unwrap().choice.anonymous);
        assert!(choice(home.path(), &[("GCE_METADATA_HOST", "x")]).contains("metadata"));
    }

    #[test]
    fn the_most_specific_credentials_are_used() {
        let mut files = vec![(DEFAULT, USER)];
        let home_1 = home(&files);
        assert!(choice(home_1.path(), &[]).contains("application_default"));
        files.push((".cloudvolume/secrets/google-secret.json", ACCOUNT));
        files.push(("named.json", ACCOUNT));
        let home_2 = home(&files);
        assert!(choice(home_2.path(), &[]).contains("/google-secret.json"));
        let named = home_2.path().join("named.json");
        let vars = [("GOOGLE_APPLICATION_CREDENTIALS", named.to_str().unwrap())];
        assert!(choice(home_2.path(), &vars).contains("named.json (GOOGLE_"));
        files.push((".cloudvolume/secrets/vnc-google-secret.json", ACCOUNT));
        let home_3 = home(&files);
        let found = find("vnc", &environment(home_3.path(), &vars)).unwrap();
        assert!(found.choice.description.contains("vnc-google-secret.json"));
        let files: Vec<_> = found.settings.iter().map(|(k, _)| *k).collect();
        assert_eq!(files, [Key::ApplicationCredentials]);
        let skip = [("GOOGLE_SKIP_SIGNATURE", "true")];
        assert!(choice(home_3.path(), &skip).contains("GOOGLE_SKIP_SIGNATURE is set"));
    }

    #[test]
    fn an_unsupported_credential_type_is_an_error_if_requested_explicitly() {
        let home = home(&[(DEFAULT, FEDERATED)]);
        let description = choice(home.path(), &[]);
        assert!(
            description.contains("without credentials")
                && description.contains("`external_account`"),
            "{description}"
        );
        let file = home.path().join(DEFAULT);
        let vars = [("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())];
        let e = find("vnc", &environment(home.path(), &vars)).unwrap_err();
        assert!(e.contains("`external_account`"), "{e}");
        let vars = [("GOOGLE_APPLICATION_CREDENTIALS", "/none.json")];
        let e = find("vnc", &environment(home.path(), &vars)).unwrap_err();
        assert!(e.contains("/none.json"), "{e}");
    }

    #[test]
    fn the_emulator_in_the_environment_is_used() {
        let vars = [("STORAGE_EMULATOR_HOST", "localhost:4443")];
        let found = find("vnc", &environment("/none".as_ref(), &vars)).unwrap();
        let base = (Key::BaseUrl, "http://localhost:4443".to_owned());
        assert!(found.settings.contains(&base) && found.choice.anonymous);
    }
}
