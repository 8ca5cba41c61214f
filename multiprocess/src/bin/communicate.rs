//! `In [9]`: feed a program its input, take all that it says.

use common::stand_in;
use multiprocess::{Result, subprocess};

fn main() -> Result<()> {
    if stand_in::find("nslookup").is_none() {
        eprintln!("nslookup is not installed: a stand-in answers");
    }
    println!("$ nslookup");
    let commands = b"set q=mx\npython.org\nexit\n";
    let output = subprocess::communicate(&mut stand_in::command("nslookup"), commands)?;
    println!("{}", String::from_utf8_lossy(&output.stdout));
    println!("Exit Code:  {}", output.code);
    Ok(())
}
