//! iceoryx2: memory that is lent. Its readers do not wait for items, so they look again; what it
//! moves by copy is copied in by the writer and out by the reader.

use std::error::Error;
use std::hint::black_box;
use std::{process, thread};

use iceoryx2::node::{Node, NodeBuilder};
use iceoryx2::port::backpressure_strategy::BackpressureStrategy;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::{LogLevel, set_log_level};
use iceoryx2::service::ipc::Service;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use multiprocess::{Process, Queue};

use crate::large::Large;
use crate::{Measured, unknown};

pub(crate) fn measure(row: &str) -> Measured {
    // It would say on standard error, where causes are read, that it has no configuration.
    set_log_level(LogLevel::Fatal);
    match Large::of(row) {
        Some(large) => large.mib_per_second(|count| published(large, count)),
        None => unknown(row),
    }
}

/// How many items it holds for a reader.
const BUFFER: usize = 4;

type Opened = (Node<Service>, PortFactory<Service, [u64], ()>);

fn open(name: &str) -> Result<Opened, Box<dyn Error>> {
    let node = NodeBuilder::new().create::<Service>()?;
    let service = node.service_builder(&name.try_into()?);
    let service = service
        .publish_subscribe::<[u64]>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(BUFFER)
        .open_or_create()?;
    Ok((node, service))
}

fn published(large: Large, count: u64) -> Result<(), Box<dyn Error>> {
    let name = format!("bench-{}", process::id());
    let (has_writer, has_reader) = (Queue::<()>::new()?, Queue::<()>::new()?);
    let received_all = Queue::<()>::new()?;
    let queues = (has_writer.clone(), has_reader.clone(), received_all.clone());
    let (_node, service) = open(&name)?;
    let subscriber = service.subscriber_builder().create()?;
    // A fork would inherit what this process has open.
    let writer = Process::spawn_with(
        |(name, (len, is_filled, count), queues)| {
            let written = write(&name, Large { len, is_filled }, count, &queues);
            written.map_err(|error| error.to_string())
        },
        (name, (large.len, large.is_filled, count), queues),
    )?;
    // What is sent before the reader knows the writer is lost but for the first few.
    has_writer.get()?;
    subscriber.update_connections()?;
    has_reader.put(&())?;
    for n in 0..count {
        let item = loop {
            match subscriber.receive()? {
                Some(item) => break item,
                None => thread::yield_now(),
            }
        };
        match large.is_filled {
            true => large.check(item.payload().iter().copied(), n)?,
            false => _ = black_box(item.payload().to_vec()),
        }
    }
    received_all.put(&())?;
    Ok(writer.join()??)
}

fn write(
    name: &str,
    large: Large,
    count: u64,
    (has_writer, has_reader, received_all): &(Queue<()>, Queue<()>, Queue<()>),
) -> Result<(), Box<dyn Error>> {
    let (_node, service) = open(name)?;
    let publisher = service
        .publisher_builder()
        .initial_max_slice_len(large.numbers())
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create()?;
    has_writer.put(&())?;
    has_reader.get()?;
    let item = vec![7; large.numbers()];
    for n in 0..count {
        let loan = publisher.loan_slice_uninit(large.numbers())?;
        let loan = match large.is_filled {
            true => loan.write_from_fn(|_| n),
            false => loan.write_from_slice(&item),
        };
        loan.send()?;
    }
    // What is not received yet goes with the writer.
    Ok(received_all.get()?)
}
