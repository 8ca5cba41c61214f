//! `In [7]`: run a program, take its exit code.

use common::stand_in;
use multiprocess::{Result, subprocess};

fn main() -> Result<()> {
    if stand_in::find("nslookup").is_none() {
        eprintln!("nslookup is not installed: a stand-in answers");
    }
    println!("$ nslookup www.baidu.org");
    let code = subprocess::call(stand_in::command("nslookup").arg("www.baidu.org"))?;
    println!("Exit code:  {code}");
    Ok(())
}
