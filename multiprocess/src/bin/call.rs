//! `In [7]`: run a program, take its exit code.

use common::stand_in;
use multiprocess::{Result, subprocess};

fn main() -> Result<()> {
    println!("$ nslookup www.baidu.org");
    let code = subprocess::call(stand_in::command("nslookup").arg("www.baidu.org"))?;
    println!("Exit code:  {code}");
    Ok(())
}
