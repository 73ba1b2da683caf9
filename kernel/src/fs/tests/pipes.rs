//! Pipes and FIFOs.

use uapi::stat::S_IFIFO;

use super::*;
use crate::fs::char_dev::DevT;
use crate::fs::pipe::{Pipe, create_pipe_files};
use crate::kernel::kthread::kthread_run;
use crate::kernel::sched::completion::Completion;

fn read(file: &File, len: usize) -> Result<Vec<u8>> {
    let mut buf = vec![0; len];
    let count = file.kernel_read(&mut buf, &mut 0)?;
    buf.truncate(count);
    Ok(buf)
}

fn write(file: &File, bytes: &[u8]) -> Result<usize> {
    file.kernel_write(bytes, &mut 0)
}

#[test]
fn bytes_come_out_as_they_went_in() {
    in_world(|_| {
        let (reader, writer) = create_pipe_files(O_NONBLOCK).unwrap();
        assert_eq!(read(&reader, 10), Err(Errno::EAGAIN));
        assert_eq!(write(&writer, b"hello "), Ok(6));
        assert_eq!(write(&writer, b"world"), Ok(5));
        assert_eq!(read(&reader, 3).unwrap(), b"hel");
        assert_eq!(read(&reader, 100).unwrap(), b"lo world");
        assert_eq!(write(&writer, b""), Ok(0));
        assert_eq!(write(&reader, b"x"), Err(Errno::EBADF));
        assert_eq!(read(&writer, 1), Err(Errno::EBADF));
        drop(writer);
        assert_eq!(read(&reader, 10).unwrap(), b"");
    });
}

#[test]
fn a_full_pipe_holds_64_kib_and_small_writes_stay_whole() {
    in_world(|_| {
        let (reader, writer) = create_pipe_files(O_NONBLOCK).unwrap();
        let block = [7; 100_000];
        assert_eq!(write(&writer, &block), Ok(65536));
        assert_eq!(write(&writer, b"x"), Err(Errno::EAGAIN));
        assert_eq!(read(&reader, 1).unwrap(), [7]);
        assert_eq!(write(&writer, &[1; 4096]), Err(Errno::EAGAIN));
        assert_eq!(read(&reader, 4095).unwrap().len(), 4095);
        assert_eq!(write(&writer, &[1; 4096]), Ok(4096));
        let mut total = 0;
        while let Ok(bytes) = read(&reader, 10_000) {
            total += bytes.len();
        }
        assert_eq!(total, 65536);
    });
}

#[test]
fn small_writes_share_pages() {
    in_world(|_| {
        let (reader, writer) = create_pipe_files(O_NONBLOCK).unwrap();
        for n in 0..10_000u32 {
            assert_eq!(write(&writer, &[n as u8]), Ok(1), "{n}");
        }
        let bytes = read(&reader, 20_000).unwrap();
        assert_eq!(bytes.len(), 10_000);
        assert!(bytes.iter().enumerate().all(|(n, &byte)| byte == n as u8));
    });
}

#[test]
fn packets_are_read_one_by_one() {
    in_world(|_| {
        let (reader, writer) = create_pipe_files(O_NONBLOCK | O_DIRECT).unwrap();
        write(&writer, b"first").unwrap();
        write(&writer, b"second").unwrap();
        assert_eq!(read(&reader, 2).unwrap(), b"fi");
        assert_eq!(read(&reader, 100).unwrap(), b"second");
    });
}

#[test]
fn a_pipe_nobody_reads_breaks() {
    in_world(|_| {
        let (reader, writer) = create_pipe_files(0).unwrap();
        drop(reader);
        assert_eq!(write(&writer, b"x"), Err(Errno::EPIPE));
    });
}

#[test]
fn the_size_can_be_changed_within_reason() {
    in_world(|_| {
        let (reader, writer) = create_pipe_files(O_NONBLOCK).unwrap();
        let pipe = Pipe::of(&reader).unwrap();
        let (root, nobody) = (Cred::root(), user(1));
        assert_eq!(pipe.size(), 65536);
        assert_eq!(pipe.set_size(5000, &nobody), Ok(8192));
        assert_eq!(write(&writer, &[0; 10_000]), Ok(8192));
        assert_eq!(pipe.set_size(4096, &nobody), Err(Errno::EBUSY));
        assert_eq!(pipe.set_size(2 << 20, &nobody), Err(Errno::EPERM));
        assert_eq!(pipe.set_size(2 << 20, &root), Ok(2 << 20));
        assert_eq!(pipe.set_size(1 << 40, &root), Err(Errno::EINVAL));
    });
}

#[test]
fn a_reader_sleeps_until_something_comes() {
    in_world(|_| {
        let (reader, writer) = create_pipe_files(0).unwrap();
        kthread_run("writer", move || write(&writer, b"woken").map_or(1, |_| 0)).unwrap();
        assert_eq!(read(&reader, 10).unwrap(), b"woken");
        assert_eq!(read(&reader, 10).unwrap(), b"");
    });
}

#[test]
fn a_writer_sleeps_until_there_is_room() {
    in_world(|_| {
        let (reader, writer) = create_pipe_files(0).unwrap();
        let done = Arc::new(Completion::new());
        let finished = done.clone();
        kthread_run("writer", move || {
            let bytes: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
            let written = write(&writer, &bytes);
            finished.complete();
            i32::from(written != Ok(bytes.len()))
        })
        .unwrap();
        let mut received = Vec::new();
        loop {
            let piece = read(&reader, 3000).unwrap();
            if piece.is_empty() {
                break;
            }
            received.extend(piece);
        }
        done.wait_for_completion();
        assert_eq!(received.len(), 200_000);
        assert!(
            received
                .iter()
                .enumerate()
                .all(|(n, &byte)| byte == n as u8)
        );
    });
}

#[test]
fn the_two_sides_of_a_fifo_wait_for_each_other() {
    in_world(|world| {
        do_mknodat(&world.env, None, b"/fifo", S_IFIFO | 0o644, DevT(0)).unwrap();
        assert_eq!(
            world.open("/fifo", O_WRONLY | O_NONBLOCK).err(),
            Some(Errno::ENXIO)
        );
        let early = world.open("/fifo", O_RDONLY | O_NONBLOCK).unwrap();
        assert_eq!(read(&early, 1).unwrap(), b"");
        let poll = early.ops.poll(&early, None);
        assert_eq!(poll & uapi::poll::POLLHUP, 0);
        drop(early);
        let fs = world.env.fs.clone();
        kthread_run("writer", move || {
            let env = WalkEnv {
                fs,
                cred: Arc::new(Cred::root()),
            };
            let how = OpenFlags::new(O_WRONLY, 0).unwrap();
            let file = do_filp_open(&env, None, b"/fifo", &how).unwrap();
            write(&file, b"through the fifo").map_or(1, |_| 0)
        })
        .unwrap();
        let reader = world.open("/fifo", O_RDONLY).unwrap();
        assert_eq!(read(&reader, 100).unwrap(), b"through the fifo");
        assert_eq!(read(&reader, 100).unwrap(), b"");
    });
}
