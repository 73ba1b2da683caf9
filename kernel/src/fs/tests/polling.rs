//! eventfd, poll and epoll.

use uapi::epoll::*;
use uapi::poll::*;

use super::*;
use crate::fs::eventpoll::{EventPoll, do_epoll_ctl};
use crate::fs::pipe::create_pipe_files;
use crate::fs::select::wait_for_files;
use crate::kernel::kthread::kthread_run;
use crate::kernel::time::ktime_get;

fn write(file: &File, bytes: &[u8]) -> Result<usize> {
    file.kernel_write(bytes, &mut 0)
}

#[test]
fn a_pipe_shows_its_state_to_pollers() {
    in_world(|_| {
        let (reader, writer) = create_pipe_files(O_NONBLOCK).unwrap();
        let poll = |file: &Arc<File>| file.ops.poll(file, None);
        assert_eq!(poll(&reader), 0);
        assert_eq!(poll(&writer), POLLOUT | POLLWRNORM);
        write(&writer, &[0; 65536]).unwrap();
        assert_eq!(poll(&reader), POLLIN | POLLRDNORM);
        assert_eq!(poll(&writer), 0);
        drop(reader);
        assert_eq!(poll(&writer) & POLLERR, POLLERR);
    });
}

#[test]
fn waiting_ends_with_an_event_or_with_time() {
    in_world(|_| {
        let (reader, writer) = create_pipe_files(0).unwrap();
        let look = reader.clone();
        let scan = move |table: Option<&mut crate::kernel::sched::wait::PollTable>| {
            usize::from(look.ops.poll(&look, table) != 0)
        };
        assert_eq!(wait_for_files(Some(0), scan.clone()), Ok(0));
        let start = ktime_get();
        assert_eq!(
            wait_for_files(Some(start + 20_000_000), scan.clone()),
            Ok(0)
        );
        assert!(ktime_get() >= start + 20_000_000);
        let slow = writer.clone();
        kthread_run("writer", move || write(&slow, b"x").map_or(1, |_| 0)).unwrap();
        assert_eq!(wait_for_files(None, scan), Ok(1));
    });
}

fn events(ep: &EventPoll) -> Vec<(u32, u64)> {
    let collected = ep.wait(10, Some(0)).unwrap();
    collected.iter().map(|e| (e.events, e.data)).collect()
}

fn epoll() -> (Arc<File>, Arc<EventPoll>) {
    let ep = EventPoll::new();
    let file = crate::fs::anon_inodes::anon_inode_getfile("[eventpoll]", ep.clone(), O_RDWR);
    (file.unwrap(), ep)
}

fn add(epfile: &Arc<File>, fd: i32, file: &Arc<File>, events: u32) -> Result {
    let event = EpollEvent {
        events,
        data: fd as u64,
    };
    do_epoll_ctl(epfile, EPOLL_CTL_ADD, fd, file, event)
}

#[test]
fn level_and_edge_triggers_differ_in_what_they_repeat() {
    in_world(|_| {
        let (epfile, ep) = epoll();
        let (r1, w1) = create_pipe_files(O_NONBLOCK).unwrap();
        let (r2, w2) = create_pipe_files(O_NONBLOCK).unwrap();
        add(&epfile, 1, &r1, EPOLLIN).unwrap();
        add(&epfile, 2, &r2, EPOLLIN | EPOLLET).unwrap();
        assert_eq!(add(&epfile, 1, &r1, EPOLLIN), Err(Errno::EEXIST));
        assert!(events(&ep).is_empty());
        write(&w1, b"a").unwrap();
        write(&w2, b"b").unwrap();
        let mut both = events(&ep);
        both.sort_by_key(|e| e.1);
        assert_eq!(both, [(EPOLLIN, 1), (EPOLLIN, 2)]);
        assert_eq!(events(&ep), [(EPOLLIN, 1)]);
        write(&w2, b"more").unwrap();
        assert_eq!(events(&ep).len(), 2);
        let mut buf = [0; 10];
        r1.kernel_read(&mut buf, &mut 0).unwrap();
        assert!(events(&ep).is_empty());
        drop((w1, w2));
        let mut ends = events(&ep);
        ends.sort_by_key(|e| e.1);
        assert_eq!(ends, [(EPOLLHUP, 1), (EPOLLIN | EPOLLHUP, 2)]);
    });
}

#[test]
fn one_shot_watches_rest_until_they_are_changed() {
    in_world(|_| {
        let (epfile, ep) = epoll();
        let (reader, writer) = create_pipe_files(O_NONBLOCK).unwrap();
        add(&epfile, 7, &reader, EPOLLIN | EPOLLONESHOT).unwrap();
        write(&writer, b"a").unwrap();
        assert_eq!(events(&ep), [(EPOLLIN, 7)]);
        write(&writer, b"b").unwrap();
        assert!(events(&ep).is_empty());
        let event = EpollEvent {
            events: EPOLLIN,
            data: 8,
        };
        do_epoll_ctl(&epfile, EPOLL_CTL_MOD, 7, &reader, event).unwrap();
        assert_eq!(events(&ep), [(EPOLLIN, 8)]);
        do_epoll_ctl(&epfile, EPOLL_CTL_DEL, 7, &reader, event).unwrap();
        assert!(events(&ep).is_empty());
        let gone = do_epoll_ctl(&epfile, EPOLL_CTL_DEL, 7, &reader, event);
        assert_eq!(gone, Err(Errno::ENOENT));
    });
}

#[test]
fn a_closed_file_leaves_its_epoll() {
    in_world(|_| {
        let (epfile, ep) = epoll();
        for round in 0..5 {
            let (reader, writer) = create_pipe_files(O_NONBLOCK).unwrap();
            add(&epfile, round, &reader, EPOLLIN).unwrap();
            write(&writer, b"x").unwrap();
            drop(reader);
            assert!(events(&ep).is_empty());
            drop(writer);
        }
        let (reader, _writer) = create_pipe_files(O_NONBLOCK).unwrap();
        add(&epfile, 1, &reader, EPOLLIN).unwrap();
        drop((epfile, ep));
        assert_eq!(reader.ops.poll(&reader, None), 0);
    });
}

#[test]
fn epolls_may_watch_each_other_but_not_in_a_circle() {
    in_world(|world| {
        let (outer, outer_ep) = epoll();
        let (inner, _inner_ep) = epoll();
        let (reader, writer) = create_pipe_files(O_NONBLOCK).unwrap();
        add(&outer, 1, &inner, EPOLLIN).unwrap();
        add(&inner, 2, &reader, EPOLLIN).unwrap();
        assert_eq!(add(&inner, 3, &outer, EPOLLIN), Err(Errno::ELOOP));
        assert_eq!(add(&inner, 3, &inner, EPOLLIN), Err(Errno::EINVAL));
        write(&writer, b"x").unwrap();
        assert_eq!(events(&outer_ep), [(EPOLLIN, 1)]);
        let plain = world.open("/f", O_RDWR | O_CREAT).unwrap();
        assert_eq!(add(&outer, 4, &plain, EPOLLIN), Err(Errno::EPERM));
    });
}

#[test]
fn a_waiter_is_woken_by_another_task() {
    in_world(|_| {
        let (epfile, ep) = epoll();
        let (reader, writer) = create_pipe_files(O_NONBLOCK).unwrap();
        add(&epfile, 1, &reader, EPOLLIN).unwrap();
        kthread_run("writer", move || write(&writer, b"x").map_or(1, |_| 0)).unwrap();
        let collected = ep.wait(10, None).unwrap();
        assert_eq!(collected.len(), 1);
        let (silent, _keep) = create_pipe_files(O_NONBLOCK).unwrap();
        let (other, other_ep) = epoll();
        add(&other, 1, &silent, EPOLLIN).unwrap();
        assert!(other_ep.wait(10, Some(20_000_000)).unwrap().is_empty());
    });
}

#[test]
fn an_eventfd_counts() {
    in_world(|_| {
        let file = |semaphore| crate::fs::eventfd::eventfd_file(3, semaphore).unwrap();
        let read = |file: &Arc<File>| {
            let mut raw = [0; 8];
            file.kernel_read(&mut raw, &mut 0)
                .map(|_| u64::from_le_bytes(raw))
        };
        let plain = file(0);
        assert_eq!(read(&plain), Ok(3));
        assert_eq!(read(&plain), Err(Errno::EAGAIN));
        write(&plain, &(u64::MAX - 1).to_le_bytes()).unwrap();
        assert_eq!(write(&plain, &1u64.to_le_bytes()), Err(Errno::EAGAIN));
        assert_eq!(write(&plain, &u64::MAX.to_le_bytes()), Err(Errno::EINVAL));
        assert_eq!(write(&plain, &[1; 4]), Err(Errno::EINVAL));
        assert_eq!(plain.ops.poll(&plain, None), POLLIN);
        let semaphore = file(EFD_SEMAPHORE);
        assert_eq!(
            (read(&semaphore), read(&semaphore), read(&semaphore)),
            (Ok(1), Ok(1), Ok(1))
        );
        assert_eq!(semaphore.ops.poll(&semaphore, None), POLLOUT);
    });
}
