//! `In [16]`: a master puts tasks in one queue on the network and reads results from another.

use common::{draw, environment};
use distributed::QueueOptions;
use options::Master;
use rand::RngExt;

mod options;

fn main() {
    environment::check();
    if let Err(error) = run(&options::parse::<Master>()) {
        options::fail(&error);
    }
}

fn run(options: &Master) -> anyhow::Result<()> {
    let tasks = QueueOptions::new("get_task_queue").redeliver(true);
    let (server, manager) = options.start([tasks, "get_result_queue".into()])?;
    let tasks = manager.queue("get_task_queue")?;
    let results = manager.queue::<String>("get_result_queue")?;
    let mut draws = draw::stream(0);
    let numbers = (0..options.count).map(|_| draws.random_range(0..=10_000i32));
    for some in numbers.collect::<Vec<_>>().chunks(1000) {
        some.iter().for_each(|n| println!("Put task {n}..."));
        tasks.put_many(some)?;
    }
    println!("Try get results...");
    for _ in 0..options.count {
        let result = results.get_timeout(options.timeout);
        let result = result.map_err(|e| options.explain(e, server.as_ref()))?;
        println!("Result: {result}");
    }
    drop(server);
    println!("master exit.");
    Ok(())
}
