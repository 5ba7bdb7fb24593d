//! Credentials for `s3://`.

use object_store::aws::AmazonS3ConfigKey as Key;

use super::profile::Profile;
use super::{Choice, Cloud, Credentials, Environment, read_json};

const ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";

/// The credentials for a bucket.
pub(in super::super) struct AmazonCredentials {
    pub credentials: Credentials<Key>,
    /// Whether the bucket's region must be looked up.
    pub region_unknown: bool,
}

/// Keys from a file.
struct Keys {
    id: String,
    secret: String,
    token: Option<String>,
    region: Option<String>,
    endpoint: Option<String>,
    description: String,
}

impl Keys {
    fn into_choice(self) -> (Option<Self>, Choice) {
        let choice = Choice::with(&self.description);
        (Some(self), choice)
    }
}

/// Finds the credentials for `bucket`.
pub(in super::super) fn find(bucket: &str, env: &Environment) -> Result<AmazonCredentials, String> {
    let profile = Profile::find(env)?;
    let (keys, choice) = select(bucket, env, profile.as_ref())?;
    let mut settings: Vec<(Key, String)> = env.settings("AWS_");
    let has_region = env.has_any(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
    let has_endpoint = env.has_any(&["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"]);
    let from_profile = |field: fn(&Profile) -> &Option<String>| {
        let profile = profile.as_ref()?;
        field(profile).clone()
    };
    let mut region = from_profile(|p| &p.region);
    let mut endpoint = from_profile(|p| &p.endpoint);
    if let Some(keys) = keys {
        // A token in the environment does not belong to the keys of a file.
        settings.retain(|(key, _)| {
            !matches!(key, Key::AccessKeyId | Key::SecretAccessKey | Key::Token)
        });
        settings.push((Key::AccessKeyId, keys.id));
        settings.push((Key::SecretAccessKey, keys.secret));
        settings.extend(keys.token.map(|token| (Key::Token, token)));
        region = keys.region.or(region);
        endpoint = keys.endpoint.or(endpoint);
    }
    if choice.anonymous {
        settings.push((Key::SkipSignature, "true".into()));
    }
    let endpoint = endpoint.filter(|_| !has_endpoint);
    let region = region.filter(|_| !has_region);
    let region_unknown = !has_region && !has_endpoint && endpoint.is_none();
    settings.extend(endpoint.map(|endpoint| (Key::Endpoint, endpoint)));
    settings.extend(region.map(|region| (Key::Region, region)));
    Ok(AmazonCredentials {
        credentials: Credentials { settings, choice },
        region_unknown,
    })
}

/// The selected credentials, with the keys if they come from a file.
fn select(
    bucket: &str,
    env: &Environment,
    profile: Option<&Profile>,
) -> Result<(Option<Keys>, Choice), String> {
    if env.is_true("AWS_SKIP_SIGNATURE") {
        let choice = Choice::anonymous("AWS_SKIP_SIGNATURE is set");
        return Ok((None, choice));
    }
    if let Some(keys) = secret(&format!("{bucket}-aws-secret.json"), env)? {
        return Ok(keys.into_choice());
    }
    if env.has_any(&[ID, SECRET]) {
        let description = "with the keys in the environment (AWS_ACCESS_KEY_ID)";
        return Ok((None, Choice::with(description)));
    }
    if env.get("AWS_ROLE_ARN").is_some() && env.get("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() {
        let description = "with the role in the environment (AWS_ROLE_ARN)";
        return Ok((None, Choice::with(description)));
    }
    // A profile named in the environment precedes a general secret.
    if env.has_any(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]) {
        let keys = profile.and_then(profile_keys);
        return keys
            .map(Keys::into_choice)
            .ok_or_else(|| profile_without_keys(profile));
    }
    if let Some(keys) = secret("aws-secret.json", env)? {
        return Ok(keys.into_choice());
    }
    if let Some(keys) = profile.and_then(profile_keys) {
        return Ok(keys.into_choice());
    }
    let choice = platform_role(env).map_or_else(|| no_credentials(profile), Choice::with);
    Ok((None, choice))
}

/// The role of the container or machine, as text.
fn platform_role(env: &Environment) -> Option<&'static str> {
    let full = env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI").is_some()
        && env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").is_some();
    if full || env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").is_some() {
        return Some("with the role of this container (AWS_CONTAINER_CREDENTIALS_...)");
    }
    let has_metadata =
        env.has_any(&["AWS_METADATA_ENDPOINT"]) || env.machine == Some(Cloud::Amazon);
    (has_metadata && !env.is_true("AWS_EC2_METADATA_DISABLED"))
        .then_some("with the role of this machine (EC2 metadata)")
}

fn no_credentials(profile: Option<&Profile>) -> Choice {
    match profile.and_then(|p| p.unsupported) {
        Some(setting) => Choice::anonymous(format!(
            "none were found; the profile `default` has `{setting}`, which is not supported: see `aws configure \
             export-credentials`"
        )),
        None => Choice::anonymous("none were found"),
    }
}

/// The error for a profile in AWS_PROFILE without keys.
fn profile_without_keys(profile: Option<&Profile>) -> String {
    let unsupported = profile.and_then(|p| p.unsupported);
    let unsupported = unsupported.map_or(String::new(), |setting| {
        format!(", but `{setting}`, which is not supported")
    });
    format!(
        "the profile `{}` in AWS_PROFILE has no keys{unsupported}: `aws configure export-credentials --format env` \
         prints keys as environment variables",
        profile.map_or("", |p| &p.name)
    )
}

fn profile_keys(profile: &Profile) -> Option<Keys> {
    let (id, secret, file) = profile.keys.clone()?;
    Some(Keys {
        id,
        secret,
        token: profile.token.clone(),
        region: profile.region.clone(),
        endpoint: profile.endpoint.clone(),
        description: format!("with the profile `{}` in {}", profile.name, file.display()),
    })
}

/// The keys in CloudVolume's secret `name`.
fn secret(name: &str, env: &Environment) -> Result<Option<Keys>, String> {
    let Some(file) = env.secret(name) else {
        return Ok(None);
    };
    let json = read_json(&file)?;
    let get = |name: &str| {
        let text = json.get(name)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let (Some(id), Some(secret)) = (get(ID), get(SECRET)) else {
        return Err(format!(
            "the credentials in {} lack {ID} or {SECRET}",
            file.display()
        ));
    };
    Ok(Some(Keys {
        id,
        secret,
        token: get(TOKEN),
        region: get("AWS_REGION").or(get("AWS_DEFAULT_REGION")),
        endpoint: get("AWS_ENDPOINT_URL"),
        description: format!("with the keys in {}", file.display()),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{environment, home, in_amazon};
    use super::*;

    /// The choice, and the settings with their names.
    fn found(env: &Environment) -> (Choice, Vec<(String, String)>) {
        let found = find("vnc", env).unwrap().credentials;
        let with_name = |(key, value): (Key, String)| (key.as_ref().to_owned(), value);
        (
            found.choice,
            found.settings.into_iter().map(with_name).collect(),
        )
    }

    fn id(env: &Environment) -> String {
        let (_, settings) = found(env);
        let mut ids = settings
            .into_iter()
            .filter(|(k, _)| k == "aws_access_key_id");
        let (_, id) = ids.next().unwrap();
        assert_eq!(ids.next(), None);
        id
    }

    const SHARED: &str = "[default]\naws_access_key_id = D\naws_secret_access_key=d+/=\n# no\n\n\
        [lab]\naws_access_key_id=L\naws_secret_access_key=l;#x\naws_session_token = t==\n";
    const CONFIG: &str = "[default]\nregion = us-west-2 # here\ns3 =\n  addressing_style = path\n\
        [profile lab]\nregion=eu-central-1\nendpoint_url = http://host:9000\n[profile sso]\nsso_session = x\n";

    #[test]
    fn access_is_anonymous_without_credentials() {
        let home = home(&[]);
        let env = environment(home.path(), &[]);
        let (choice, settings) = found(&env);
        assert_eq!(choice, Choice::anonymous("none were found"));
        assert_eq!(settings, [("aws_skip_signature".into(), "true".into())]);
        let amazon = find("vnc", &env).unwrap();
        assert!(amazon.region_unknown);
        assert!(
            !find("vnc", &in_amazon(env))
                .unwrap()
                .credentials
                .choice
                .anonymous
        );
        let off = [("AWS_EC2_METADATA_DISABLED", "true")];
        let (choice, _) = found(&in_amazon(environment(home.path(), &off)));
        assert!(choice.anonymous);
    }

    #[test]
    fn the_most_specific_credentials_are_used() {
        let secret = r#"{"AWS_ACCESS_KEY_ID": "S", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "r"}"#;
        let of_bucket = r#"{"AWS_ACCESS_KEY_ID": "B", "AWS_SECRET_ACCESS_KEY": "b"}"#;
        let mut files = vec![(".aws/credentials", SHARED), (".aws/config", CONFIG)];
        let shared = home(&files);
        assert_eq!(id(&environment(shared.path(), &[])), "D");
        files.push((".cloudfiles/secrets/aws-secret.json", secret));
        let general = home(&files);
        assert_eq!(id(&environment(general.path(), &[])), "S");
        let lab = [("AWS_PROFILE", "lab")];
        assert_eq!(id(&environment(general.path(), &lab)), "L");
        let keys = [
            ("AWS_ACCESS_KEY_ID", "E"),
            ("AWS_SECRET_ACCESS_KEY", "e"),
            ("AWS_SESSION_TOKEN", "t"),
        ];
        assert_eq!(id(&environment(general.path(), &keys)), "E");
        files.push((".cloudvolume/secrets/vnc-aws-secret.json", of_bucket));
        files.push((".cloudvolume/secrets/other-aws-secret.json", secret));
        let specific = home(&files);
        let env = environment(specific.path(), &keys);
        assert_eq!(id(&env), "B");
        let (choice, settings) = found(&env);
        assert!(
            choice.description.contains("vnc-aws-secret.json"),
            "{choice:?}"
        );
        let names: Vec<&str> = settings.iter().map(|(k, _)| k.as_str()).collect();
        assert!(!names.contains(&"aws_session_token"), "{names:?}");
        let skip = [("AWS_SKIP_SIGNATURE", "TRUE")];
        assert!(found(&environment(specific.path(), &skip)).0.anonymous);
    }

    #[test]
    fn a_profile_is_read_from_both_files() {
        let home = home(&[(".aws/credentials", SHARED), (".aws/config", CONFIG)]);
        let lab = [("AWS_PROFILE", "lab"), ("AWS_REQUEST_PAYER", "true")];
        let env = environment(home.path(), &lab);
        let (choice, mut settings) = found(&env);
        settings.sort();
        let expected = [
            ("aws_access_key_id", "L"),
            ("aws_endpoint", "http://host:9000"),
            ("aws_region", "eu-central-1"),
            ("aws_request_payer", "true"),
            ("aws_secret_access_key", "l;#x"),
            ("aws_session_token", "t=="),
        ];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(settings, expected);
        assert!(
            choice.description.contains("profile `lab`") && !choice.description.contains("l;#x"),
            "{choice:?}"
        );
        assert!(!find("vnc", &env).unwrap().region_unknown);
        let (_, settings) = found(&environment(home.path(), &[("AWS_REGION", "r")]));
        let regions: Vec<_> = settings.iter().filter(|(k, _)| k == "aws_region").collect();
        assert_eq!(
            regions.len(),
            1,
            "the environment precedes the profile: {regions:?}"
        );
        let moved = [
            (
                "AWS_SHARED_CREDENTIALS_FILE",
                home.path().join(".aws/credentials"),
            ),
            ("AWS_CONFIG_FILE", "/nowhere".into()),
        ];
        let moved = moved
            .each_ref()
            .map(|(n, path)| (*n, path.to_str().unwrap()));
        assert_eq!(id(&environment("/none".as_ref(), &moved)), "D");
    }

    #[test]
    fn a_profile_without_keys_is_an_error() {
        let home = home(&[(".aws/credentials", SHARED), (".aws/config", CONFIG)]);
        let error = |profile| {
            let env = environment(home.path(), &[("AWS_PROFILE", profile)]);
            find("vnc", &env).err().unwrap()
        };
        let e = error("sso");
        assert!(
            e.contains("`sso_session`") && e.contains("export-credentials"),
            "{e}"
        );
        assert!(
            error("none").contains("neither ~/.aws/credentials nor"),
            "{}",
            error("none")
        );
    }

    #[test]
    fn roles_in_the_environment_are_credentials() {
        for vars in [
            [
                ("AWS_ROLE_ARN", "arn"),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
            ],
            [
                ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x"),
                ("AWS_REGION", "r"),
            ],
            [
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x"),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token"),
            ],
            [("AWS_METADATA_ENDPOINT", "http://x"), ("AWS_REGION", "r")],
        ] {
            let (choice, settings) = found(&environment("/none".as_ref(), &vars));
            assert!(!choice.anonymous, "{vars:?}");
            assert_eq!(settings.len(), 2, "{settings:?}");
        }
    }

    #[test]
    fn the_error_for_a_malformed_secret_has_its_file_but_not_its_content() {
        for text in [
            "{\"AWS_ACCESS_KEY_ID\": \"hidden\"",
            r#"{"AWS_SECRET_ACCESS_KEY": "hidden"}"#,
        ] {
            let home = home(&[(".cloudvolume/secrets/aws-secret.json", text)]);
            let e = find("vnc", &environment(home.path(), &[])).err().unwrap();
            assert!(
                e.contains("aws-secret.json") && !e.contains("hidden"),
                "{e}"
            );
        }
    }
}
