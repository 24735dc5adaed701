//! ECR, S3 and STS as moto plays them: another's reading of the same APIs.

use std::process::Stdio;

use frontdesk_aws::{Credentials, SecretKey};
use frontdesk_deploy::call::Aws;
use frontdesk_deploy::registry::Login;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// moto's server, on a port that it picked.
struct Moto {
    url: String,
    _process: Child,
}

impl Moto {
    async fn start() -> Moto {
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", "0"]).stderr(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().expect("moto_server is in the path: `make test-tools` installs it");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, url)) = line.split_once("Running on ") {
                let url = url.trim().to_owned();
                // What it writes from now on is nobody's, but it must be able to write.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Moto { url, _process: process };
            }
        }
        panic!("moto_server ended");
    }

    fn aws(&self) -> Aws {
        Aws::new(Credentials::new("AKIDEXAMPLE", "secret"), "eu-west-1", Some(&self.url)).unwrap()
    }

    /// An image's manifest, put by boto3: pushing is not moto's.
    async fn put_image(&self, repository: &str, tag: &str) {
        let script = "import sys, json, boto3
endpoint, repository, tag = sys.argv[1:]
ecr = boto3.client('ecr', endpoint_url=endpoint, region_name='eu-west-1', aws_access_key_id='a', aws_secret_access_key='b')
manifest = {'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json',
            'config': {'mediaType': 'application/vnd.oci.image.config.v1+json', 'size': 2, 'digest': 'sha256:' + tag * 64},
            'layers': [{'mediaType': 'application/vnd.oci.image.layer.v1.tar+gzip', 'size': 77, 'digest': 'sha256:' + 'b' * 64}]}
ecr.put_image(repositoryName=repository, imageTag=tag, imageManifest=json.dumps(manifest))";
        let ran = Command::new("python3").args(["-c", script, &self.url, repository, tag]).output().await.unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }
}

#[tokio::test]
async fn a_repository_lives_and_ends() {
    let moto = Moto::start().await;
    let aws = moto.aws();
    assert_eq!(aws.account().await.unwrap().id, "123456789012");
    assert_eq!(aws.ecr_repository("frontdesk").await.unwrap(), None);
    let made = aws.create_ecr_repository("frontdesk", &[("made-by", "frontdesk")]).await.unwrap();
    assert_eq!(made.uri, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/frontdesk");
    assert_eq!(aws.ecr_repository("frontdesk").await.unwrap(), Some(made.clone()));
    assert_eq!(aws.ecr_repository_tags(&made).await.unwrap(), [("made-by".to_owned(), "frontdesk".to_owned())]);
    let again = aws.create_ecr_repository("frontdesk", &[]).await.unwrap_err();
    assert!(again.has_code("RepositoryAlreadyExistsException"), "{again}");

    for tag in ["a", "c"] {
        moto.put_image("frontdesk", tag).await;
    }
    let images = aws.ecr_images("frontdesk").await.unwrap();
    let mut tags: Vec<_> = images.iter().flat_map(|image| image.tags.clone()).collect();
    tags.sort();
    assert_eq!(tags, ["a", "c"]);
    let full = aws.delete_ecr_repository("frontdesk", false).await.unwrap_err();
    assert!(full.has_code("RepositoryNotEmptyException"), "{full}");
    let digests: Vec<_> = images.into_iter().map(|image| image.digest).collect();
    aws.delete_ecr_images("frontdesk", &digests).await.unwrap();
    // Once more: what is gone is no error.
    aws.delete_ecr_images("frontdesk", &digests).await.unwrap();
    assert_eq!(aws.ecr_images("frontdesk").await.unwrap(), []);
    assert!(aws.delete_ecr_repository("frontdesk", false).await.unwrap());
    assert!(!aws.delete_ecr_repository("frontdesk", false).await.unwrap());
    assert_eq!(aws.calls()["ecr:DeleteRepository"], 3);
}

#[tokio::test]
async fn the_registry_s_login_is_a_user_and_a_password() {
    let moto = Moto::start().await;
    let Login::Password { user, password } = moto.aws().ecr_login().await.unwrap() else { panic!("ECR lets nobody in unknown") };
    assert_eq!((user.as_str(), password), ("AWS", SecretKey::new("123456789012-auth-token")));
}

#[tokio::test]
async fn objects_come_back_as_they_went() {
    let moto = Moto::start().await;
    let aws = moto.aws();
    let absent = aws.put_object("code", "a.zip", "application/zip", "x".into()).await.unwrap_err();
    assert!(absent.has_code("NoSuchBucket"), "{absent}");
    let script = "import sys, boto3
s3 = boto3.client('s3', endpoint_url=sys.argv[1], region_name='eu-west-1', aws_access_key_id='a', aws_secret_access_key='b')
s3.create_bucket(Bucket='code', CreateBucketConfiguration={'LocationConstraint': 'eu-west-1'})";
    let ran = Command::new("python3").args(["-c", script, &moto.url]).output().await.unwrap();
    assert!(ran.status.success(), "{ran:?}");
    aws.put_object("code", "agents/übung a.zip", "application/zip", "bytes".into()).await.unwrap();
    assert_eq!(aws.get_object("code", "agents/übung a.zip").await.unwrap().unwrap(), "bytes");
    assert_eq!(aws.get_object("code", "absent").await.unwrap(), None);
}
