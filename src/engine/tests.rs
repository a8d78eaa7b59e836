use super::*;

#[test]
fn placeholder() {
    println!("{}", sim::trace("package 100 pri=5 frags=3", Duration::from_secs(3600)).unwrap());
}
